"""The transformer: Qwen2's architecture in plain PyTorch, its parameters under Qwen2's names."""

import torch
import torch.nn.functional as F
from torch import nn


def rope_tables(positions, head_dim, theta):
    """Cosines and sines for every position, each [positions, head_dim]."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    angles = positions.float()[:, None] * (1.0 / theta ** exponents)[None, :]
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Rotary embedding of [rows, heads, head_dim] with tables [rows, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return x * cos[:, None, :].to(x.dtype) + turned * sin[:, None, :].to(x.dtype)


def written_out_attention(q, k, v):
    """Causal attention as two products; on a CPU its backward pass beats the fused one."""
    length = q.shape[-2]
    future = torch.full((length, length), float("-inf"), dtype=q.dtype, device=q.device).triu(1)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2)) + future
    return torch.matmul(torch.softmax(scores, dim=-1, dtype=q.dtype), v)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, computed in float32."""

    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * (wide * scale)


class Attention(nn.Module):
    """The projections of grouped-query attention; QKV have a bias."""

    def __init__(self, a):
        super().__init__()
        self.q_proj = nn.Linear(a.hidden_size, a.num_attention_heads * a.head_dim)
        self.k_proj = nn.Linear(a.hidden_size, a.num_key_value_heads * a.head_dim)
        self.v_proj = nn.Linear(a.hidden_size, a.num_key_value_heads * a.head_dim)
        self.o_proj = nn.Linear(a.num_attention_heads * a.head_dim, a.hidden_size, bias=False)


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, a):
        super().__init__()
        self.gate_proj = nn.Linear(a.hidden_size, a.intermediate_size, bias=False)
        self.up_proj = nn.Linear(a.hidden_size, a.intermediate_size, bias=False)
        self.down_proj = nn.Linear(a.intermediate_size, a.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One block, split around the attention product so that both halves see flat rows."""

    def __init__(self, a):
        super().__init__()
        self.self_attn = Attention(a)
        self.mlp = Mlp(a)
        self.input_layernorm = RMSNorm(a.hidden_size, a.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(a.hidden_size, a.rms_norm_eps)
        self.head_dim = a.head_dim

    def before(self, x, cos, sin):
        """Rotated queries and keys, and values, each [rows, heads, head_dim]."""
        attention, normed = self.self_attn, self.input_layernorm(x)
        rows = x.shape[0]
        q = attention.q_proj(normed).view(rows, -1, self.head_dim)
        k = attention.k_proj(normed).view(rows, -1, self.head_dim)
        v = attention.v_proj(normed).view(rows, -1, self.head_dim)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def after(self, x, mixed):
        """The rest of the block, from the attention's output [rows, hidden]."""
        x = x + self.self_attn.o_proj(mixed)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """Embedding, layers and final norm: what Qwen2 calls `model`."""

    def __init__(self, a):
        super().__init__()
        self.embed_tokens = nn.Embedding(a.vocab_size, a.hidden_size)
        self.layers = nn.ModuleList(Layer(a) for _ in range(a.num_hidden_layers))
        self.norm = RMSNorm(a.hidden_size, a.rms_norm_eps)


class TinyQwen2(nn.Module):
    """The whole model. `forward` takes [batch, length] ids and is causal without a cache."""

    def __init__(self, architecture):
        super().__init__()
        self.architecture = architecture
        self.model = Trunk(architecture)
        self.lm_head = nn.Linear(architecture.hidden_size, architecture.vocab_size, bias=False)
        self.apply(self.initialise)

    @staticmethod
    def initialise(module):
        """Small normal weights, zero biases."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.05)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def attend(self, q, k, v, batch, length):
        """Causal attention over flat rows; returns [rows, hidden]."""
        groups = q.shape[1] // k.shape[1]
        q, k, v = (t.view(batch, length, -1, t.shape[-1]).transpose(1, 2) for t in (q, k, v))
        k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
        if q.is_cuda or not self.training:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mixed = written_out_attention(q, k, v)
        return mixed.transpose(1, 2).reshape(batch * length, -1)

    def hidden(self, ids):
        """The normalised last hidden states, [batch * length, hidden]."""
        batch, length = ids.shape
        a = self.architecture
        cos, sin = rope_tables(torch.arange(length), a.head_dim, a.rope_theta)
        cos, sin = (t.to(ids.device).repeat(batch, 1) for t in (cos, sin))
        x = self.model.embed_tokens(ids.reshape(-1))
        for layer in self.model.layers:
            q, k, v = layer.before(x, cos, sin)
            x = layer.after(x, self.attend(q, k, v, batch, length))
        return self.model.norm(x)

    def forward(self, ids):
        """Logits, [batch, length, vocabulary]."""
        return self.lm_head(self.hidden(ids)).view(*ids.shape, -1)
