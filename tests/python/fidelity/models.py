"""Small DeepSeek models with random weights, from transformers' own classes. All layers are dense: which expert a router takes
is not continuous, and would hide what attention does."""

from __future__ import annotations

from typing import Dict

import torch
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM

LAYERS, VOCABULARY = 4, 2000
POSITION_WEIGHT = 3.0

PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "original_max_position_embeddings": 4096,
        "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}

# name: (class, rotary parameters, pairs are neighbours)
KINDS: Dict[str, tuple] = {
    "v2-plain": (DeepseekV2Config, DeepseekV2ForCausalLM, PLAIN, True),
    "v2-yarn": (DeepseekV2Config, DeepseekV2ForCausalLM, YARN, True),
    "v3-yarn": (DeepseekV3Config, DeepseekV3ForCausalLM, YARN, True),
    "v3-neox-plain": (DeepseekV3Config, DeepseekV3ForCausalLM, PLAIN, False),
}


def config_of(kind: str, **changes: object) -> object:
    config_class, _, rope, interleave = KINDS[kind]
    fields = dict(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=256, num_hidden_layers=LAYERS,
        first_k_dense_replace=LAYERS, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=None, kv_lora_rank=512,
        qk_rope_head_dim=64, qk_nope_head_dim=32, v_head_dim=32, max_position_embeddings=163840,
        rope_parameters=dict(rope), attn_implementation="eager", architectures=[KINDS[kind][1].__name__],
        initializer_range=0.05)
    fields.update(changes)
    if config_class is DeepseekV3Config:
        fields["rope_interleave"] = interleave
    return config_class(**fields)


def model_of(kind: str, dtype: torch.dtype, seed: int = 1) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = KINDS[kind][1](config_of(kind)).eval()
    with torch.no_grad():  # so that attention looks where positions say, which it does not with weights as they are drawn
        for layer in model.model.layers:
            attention = layer.self_attn
            attention.kv_a_proj_with_mqa.weight[512:] *= POSITION_WEIGHT
            attention.q_proj.weight.view(4, 96, -1)[:, 32:] *= POSITION_WEIGHT
    rotary = model.model.rotary_emb
    frequencies = rotary.inv_freq.clone()
    model.to(dtype)
    rotary.inv_freq = frequencies  # float32 whatever the model's type, as in a model that is loaded
    return model
