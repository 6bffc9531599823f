// Publishing rows and states.
#include "base/status_macros.h"
#include "client_lib/c/handles.h"

namespace cistern::c {
namespace {

absl::Status FillReport(const PublishReport& from, cistern_publish_report* to) {
  if (to == nullptr) return absl::OkStatus();
  cistern_publish_report out{};
  out.segments = from.segments;
  out.segments_had = from.segments_had;
  out.segments_linked = from.segments_linked;
  out.segments_dropped = from.segments_dropped;
  out.bytes = from.bytes;
  return FillOut(out, "report", to);
}

LogSource::Field FieldOf(const cistern_log_field& field, const base::StateSpec& spec) {
  return {Pointers<std::byte>(field.layers, spec.num_layers), field.token_stride};
}

absl::Status ReadStates(const cistern_state_source& in, const base::StateSpec& spec,
                        StateSource* states, StatePolicy* policy) {
  if (!spec.present()) return absl::InvalidArgumentError("the model has no recurrent state");
  CISTERN_RETURN_IF_ERROR(NeedArray(in.points, in.num_points, "source.points"));
  if (in.tails != CISTERN_TAILS_END && in.tails != CISTERN_TAILS_EVERY_TOKEN) {
    return absl::InvalidArgumentError(
        absl::StrCat("source.tails is ", in.tails, "; 0 and 1 are known"));
  }
  for (size_t i = 0; i < in.num_points; ++i) {
    StatePoint point{.position = in.points[i].position};
    CISTERN_RETURN_IF_ERROR(ReadState(in.points[i].state, spec,
                                      absl::StrCat("source.points[", i, "].state"),
                                      /*need_temporal=*/false, &point.state));
    states->points.push_back(std::move(point));
  }
  policy->max_chain_tokens = in.max_chain_tokens;
  policy->tails = static_cast<base::LogTails>(in.tails);
  if (in.log_begin == in.log_end) return absl::OkStatus();
  states->log.begin = in.log_begin;
  states->log.end = in.log_end;
  CISTERN_RETURN_IF_ERROR(Need(in.log_fields, "source.log_fields"));
  for (size_t i = 0; i < spec.field_bytes().size(); ++i) {
    CISTERN_RETURN_IF_ERROR(
        Need(in.log_fields[i].layers, absl::StrCat("source.log_fields[", i, "].layers")));
    states->log.fields.push_back(FieldOf(in.log_fields[i], spec));
  }
  if (in.conv_rows == nullptr) return absl::OkStatus();
  CISTERN_RETURN_IF_ERROR(Need(in.conv_rows->layers, "source.conv_rows.layers"));
  states->log.conv_rows = FieldOf(*in.conv_rows, spec);
  return absl::OkStatus();
}

const FetchResult& ResultOf(const cistern_result* fetched) {
  static const auto* const nothing = new FetchResult();
  return fetched == nullptr ? *nothing : fetched->result;
}

}  // namespace
}  // namespace cistern::c

using namespace cistern::c;  // NOLINT(google-build-using-namespace)

int32_t cistern_publish(cistern_client* client, const cistern_model* model,
                        const cistern_prompt* prompt, const cistern_result* fetched,
                        cistern_range range, const cistern_rows* rows,
                        cistern_publish_report* report, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    CISTERN_RETURN_IF_ERROR(Need(model, "model"));
    Prompt in;
    CISTERN_RETURN_IF_ERROR(ReadPrompt(prompt, &in));
    cistern::RowSource source;
    CISTERN_RETURN_IF_ERROR(ReadRows(rows, model->spec, &source));
    CISTERN_ASSIGN_OR_RETURN(const auto published,
                             client->client->Publish(model->spec, in.tokens, ResultOf(fetched),
                                                     {range.begin, range.end}, source, in.parts));
    return FillReport(published, report);
  });
}

int32_t cistern_publish_start(cistern_client* client, const cistern_model* model,
                              const cistern_prompt* prompt, const cistern_result* fetched,
                              cistern_range range, const cistern_rows* rows,
                              cistern_publishing** publishing, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    CISTERN_RETURN_IF_ERROR(Need(model, "model"));
    CISTERN_RETURN_IF_ERROR(Need(publishing, "publishing"));
    Prompt in;
    CISTERN_RETURN_IF_ERROR(ReadPrompt(prompt, &in));
    auto started = std::make_unique<cistern_publishing>();
    CISTERN_RETURN_IF_ERROR(ReadRows(rows, model->spec, &started->rows));
    std::span<const int32_t>& table = started->rows.cache.block_table;
    started->block_table.assign(table.begin(), table.end());
    table = started->block_table;
    CISTERN_ASSIGN_OR_RETURN(
        started->handle,
        client->client->StartPublish(model->spec, in.tokens, ResultOf(fetched),
                                     {range.begin, range.end}, started->rows, in.parts));
    *publishing = started.release();
    return absl::OkStatus();
  });
}

int32_t cistern_publish_layer_done(cistern_publishing* publishing, uint32_t layer,
                                   cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(publishing, "publishing"));
    return publishing->handle.LayerDone(layer);
  });
}

int32_t cistern_publish_finish(cistern_publishing* publishing, cistern_publish_report* report,
                               cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(publishing, "publishing"));
    CISTERN_ASSIGN_OR_RETURN(const auto published, publishing->handle.Finish());
    return FillReport(published, report);
  });
}

void cistern_publish_free(cistern_publishing* publishing) { delete publishing; }

int32_t cistern_publish_states(cistern_client* client, const cistern_model* model,
                               const cistern_prompt* prompt, const cistern_result* fetched,
                               const cistern_state_source* source, cistern_state_report* report,
                               cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    CISTERN_RETURN_IF_ERROR(Need(model, "model"));
    Prompt sequence;
    CISTERN_RETURN_IF_ERROR(ReadPrompt(prompt, &sequence));
    cistern_state_source in{};
    CISTERN_RETURN_IF_ERROR(TakeIn(source, "source", &in));
    cistern::StateSource states;
    cistern::StatePolicy policy;
    CISTERN_RETURN_IF_ERROR(ReadStates(in, model->spec.state, &states, &policy));
    CISTERN_ASSIGN_OR_RETURN(
        const auto published,
        client->client->PublishStates(model->spec, sequence.tokens, ResultOf(fetched), states,
                                      policy, sequence.parts));
    if (report == nullptr) return absl::OkStatus();
    cistern_state_report out{};
    out.checkpoints = published.checkpoints;
    out.logs = published.logs;
    out.had = published.had;
    out.dropped = published.dropped;
    out.without_base = published.without_base;
    out.bytes = published.bytes;
    return FillOut(out, "report", report);
  });
}
