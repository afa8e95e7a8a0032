"""From conversations to token ids, through the same chat template that ships with the model."""

from pathlib import Path

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from settings import BOS, EOS

TEMPLATE_PATH = Path(__file__).with_name("chat_template.jinja")


def template_source():
    """The template as it goes into tokenizer_config.json."""
    return TEMPLATE_PATH.read_text(encoding="utf-8").rstrip("\n")


def compile_template(source):
    """A renderer with the jinja settings that transformers uses."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.Undefined)
    template = environment.from_string(source)

    def render(messages, generate=True):
        return template.render(messages=messages, add_generation_prompt=generate, bos_token=BOS,
                               eos_token=EOS)

    return render


class Encoder:
    """Turns problems into (prompt ids, completion ids)."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.render = compile_template(template_source())

    def prompts(self, problems):
        """Prompt ids of each problem, the beginning-of-sentence token included once."""
        texts = [self.render(problem.messages()) for problem in problems]
        return [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def completions(self, problems):
        """Completion ids of each problem, the end-of-sentence token included."""
        texts = [problem.completion() + EOS for problem in problems]
        return [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]
