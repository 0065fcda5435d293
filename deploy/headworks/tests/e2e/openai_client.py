"""Drives an OpenAI-compatible endpoint with the official client: chat, completions, streams, models, errors.

Usage: openai_client.py BASE_URL MODEL. Any broken expectation raises.
"""

import sys

import openai

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0, timeout=60)
messages = [{"role": "system", "content": "You guide."}, {"role": "user", "content": "Where is the gate?"}]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def refused(kind, status, call, param=None, code=None):
    try:
        call()
    except kind as error:
        expect(error.status_code == status, f"status {error.status_code}, wanted {status}")
        expect(error.body["message"], f"an error says what to change: {error.body}")
        expect(param is None or error.param == param, f"param {error.param}, wanted {param}")
        expect(code is None or error.code == code, f"code {error.code}, wanted {code}")
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


models = client.models.list().data
expect([m.id for m in models] == [model], f"one model, once: {models}")
expect(client.models.retrieve(model).id == model, "a model by its name")

chat = client.chat.completions.create(model=model, messages=messages, max_tokens=16, temperature=0)
text = chat.choices[0].message.content
expect(chat.object == "chat.completion" and chat.choices[0].message.role == "assistant", str(chat))
expect(chat.choices[0].finish_reason in ("stop", "length"), str(chat))
expect(chat.usage.completion_tokens <= 16, str(chat.usage))
expect(chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens, str(chat.usage))

stream = client.chat.completions.create(
    model=model, messages=messages, max_tokens=16, temperature=0, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
expect(streamed == text, f"a stream says what the whole says: {streamed!r} {text!r}")
expect(chunks[-1].usage.completion_tokens == chat.usage.completion_tokens, str(chunks[-1]))
expect(len({c.id for c in chunks}) == 1, "one id for a stream")

completion = client.completions.create(model=model, prompt="The gate", max_tokens=8, temperature=0, logprobs=3)
expect(len(completion.choices[0].logprobs.tokens) == completion.usage.completion_tokens, str(completion))
expect(all(p <= 0 for p in completion.choices[0].logprobs.token_logprobs), str(completion.choices[0].logprobs))
pieces = client.completions.create(model=model, prompt="The gate", max_tokens=8, temperature=0, stream=True)
expect("".join(c.choices[0].text for c in pieces if c.choices) == completion.choices[0].text, "completion stream")

detailed = client.chat.completions.create(
    model=model, messages=messages, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2
)
for token in detailed.choices[0].logprobs.content:
    expect(len(token.top_logprobs) == 2 and token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob, str(token))

same = [
    client.chat.completions.create(model=model, messages=messages, max_tokens=12, temperature=1.2, top_p=0.9, seed=11)
    .choices[0]
    .message.content
    for _ in range(2)
]
expect(same[0] == same[1], "the same seed gives the same text on any replica")

middle = text[len(text) // 2 : len(text) // 2 + 3]
stopped = client.chat.completions.create(model=model, messages=messages, max_tokens=16, temperature=0, stop=[middle])
expect(middle not in stopped.choices[0].message.content, f"{middle!r} in {stopped.choices[0].message.content!r}")
expect(stopped.choices[0].finish_reason == "stop", str(stopped))

create = client.chat.completions.create
refused(openai.NotFoundError, 404, lambda: create(model="nobody", messages=messages), code="model_not_found")
refused(openai.BadRequestError, 400, lambda: create(model=model, messages=[]), param="messages")
refused(
    openai.BadRequestError, 400, lambda: create(model=model, messages=messages, max_tokens=-1), param="max_tokens"
)
refused(
    openai.BadRequestError,
    400,
    lambda: create(model=model, messages=[{"role": "user", "content": "water " * 9000}]),
    code="context_length_exceeded",
)
print("ok")
