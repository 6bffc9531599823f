// RegisterModel: what a model's bytes mean, remembered in memory and on disk.
#include "base/model_spec.h"
#include "cacheserver/load_models.h"
#include "cacheserver/service/handlers.h"

namespace cistern::cacheserver {
namespace {

void PersistThenAnswer(const Parts& parts, const CallPtr& call, const base::ModelSpec& spec,
                       transport::RegisterModelReply reply) {
  const auto persist = [log = parts.log, models = parts.models, call, spec, reply] {
    // Not fatal: the model serves from memory, and the demoter tries again before it writes.
    if (absl::Status written = models->Persist(spec); !written.ok())
      log->Error("a model could not be written to disk",
                 {{"model", spec.name}, {"error", written}});
    call->Answer(reply);
  };
  if (!parts.disk_pool->Post(persist)) call->Answer(reply);
}

}  // namespace

void HandleRegisterModel(const Parts& parts, const CallPtr& call) {
  const auto& request = call->request<transport::RegisterModelRequest>();
  absl::StatusOr<base::ModelSpec> spec = base::ModelSpec::FromJson(request.spec_json);
  if (!spec.ok()) return call->Fail(spec.status());
  absl::Status status = spec->Validate();
  if (status.ok()) status = CheckModelFits(*spec, parts.arena->slab_bytes_total());
  if (!status.ok()) return call->Fail(status);

  const transport::RegisterModelReply reply{spec->Fingerprint()};
  bool is_new = false;
  status = parts.store->With([&](storage::Store& store) {
    is_new = store.FindModel(reply.fingerprint) == nullptr;
    return store.RegisterModel(*spec);
  });
  if (!status.ok()) return call->Fail(status);
  if (is_new)
    parts.log->Info("model registered", {{"model", spec->name},
                                         {"fingerprint", reply.fingerprint.ToHex()},
                                         {"token_bytes", spec->token_bytes()}});
  if (is_new && parts.models != nullptr) return PersistThenAnswer(parts, call, *spec, reply);
  call->Answer(reply);
}

}  // namespace cistern::cacheserver
