"""Greetings and short answers about pdmesh, each in many wordings."""

from __future__ import annotations

from random import Random

from tools.demo_model.exchange import Exchange

# subject (with the other names people give it) -> answer
DEFINITIONS: dict[tuple[str, ...], str] = {
    (
        "prefill",
        "a prefill worker",
        "the prefill phase",
    ): "Prefill reads the whole prompt at once, builds its KV cache and samples the first token.",
    (
        "decode",
        "a decode worker",
        "the decode phase",
    ): "Decode takes over the KV cache and generates the answer one token at a time.",
    (
        "a handoff",
        "handoff",
        "the KV handoff",
    ): "A handoff moves one request's KV cache from a prefill worker to a decode worker. "
    "It has one owner at a time.",
    (
        "TTFT",
        "time to first token",
    ): "TTFT is the time to first token: how long you wait until the answer begins.",
    (
        "TPOT",
        "time per output token",
        "inter-token latency",
        "ITL",
    ): "TPOT is the time per output token: how fast the answer goes on once it has begun.",
    (
        "pdmesh",
        "this mesh",
        "this project",
    ): "pdmesh is a mesh that serves language models with prefill and decode on separate workers.",
    (
        "a receipt",
        "the receipt",
        "receipt",
    ): "A receipt tells a caller what happened to its request: "
    "path, workers, cached tokens, KV bytes and times.",
    (
        "a KV cache",
        "the KV cache",
        "KV cache",
    ): "The KV cache holds keys and values of all tokens so far, so that each new token costs little.",
    (
        "the gateway",
        "a gateway",
    ): "The gateway is the edge of the mesh: it speaks OpenAI REST and gRPC, and turns tokens into text.",
    (
        "the router",
        "a router",
    ): "The router owns every request: it admits, queues, places, resumes and settles it.",
    ("a worker", "worker"): "A worker is one engine process. Its role is prefill, decode or both.",
    ("a pool", "pool"): "A pool is the set of workers of one model version and role.",
    (
        "placement",
        "a placement",
    ): "Placement is the router's choice of path, prefill worker and decode worker, and the reason.",
    (
        "the local path",
        "local path",
    ): "On the local path the decode worker prefills the prompt itself. Short prompts take it.",
    (
        "the disaggregated path",
        "disaggregated path",
        "disaggregation",
    ): "On the disaggregated path one worker prefills the prompt and another decodes the answer.",
    ("vLLM", "the engine"): "vLLM is the engine that runs the model on both kinds of workers.",
    ("NIXL",): "NIXL is the connector that carries KV blocks from a prefill worker to a decode worker.",
    ("a lease", "lease"): "A lease bounds how long an offered KV cache waits for its new owner.",
    (
        "prefix caching",
        "the prefix cache",
    ): "Prefix caching reuses the KV blocks of a prompt's beginning that was seen before.",
    (
        "chunked prefill",
    ): "Chunked prefill reads a long prompt in parts, so that other requests are not held up.",
    ("a token", "token"): "A token is a small piece of text, the unit in which a model reads and writes.",
    ("goodput",): "Goodput is the number of requests per second that meet their latency targets.",
    ("Redis",): "Redis holds what the replicas of the mesh must share, such as quotas and idempotency keys.",
    ("a tenant", "tenant"): "A tenant is one customer of the mesh, with its own keys, quota and tier.",
    ("backpressure", "load shedding"): "Under overload the mesh refuses early and says when to retry.",
    ("autoscaling", "scaling"): "Each tier is scaled on its own queue depth.",
}

_ASK_DEFINITION = (
    "What is {}?",
    "What's {}?",
    "what is {}",
    "what is {}?",
    "Explain {}.",
    "explain {}",
    "Tell me about {}.",
    "Define {}.",
    "What does {} mean?",
    "Can you explain {}?",
    "What do you know about {}?",
    "Please explain {}.",
    "Describe {}.",
    "I want to know what {} is.",
    "Could you tell me what {} is?",
    "What is {} in pdmesh?",
    "Tell me what {} is.",
    "What exactly is {}?",
    "{}?",
    "Please tell me about {}.",
    "tell me about {}",
    "What is meant by {}?",
    "Give me a definition of {}.",
)

SMALL_TALK: dict[tuple[str, ...], str] = {
    (
        "Hello",
        "Hi",
        "Hey",
        "Hello!",
        "Hi!",
        "hello",
        "hi",
        "Hi there",
        "Hello there!",
        "Good morning",
        "Good evening",
        "Good day",
        "Hey there",
        "hey",
        "Greetings",
    ): "Hello! I am the pdmesh demo model. Ask me what prefill is.",
    (
        "Who are you?",
        "What are you?",
        "who are you",
        "What is your name?",
        "Tell me about yourself.",
        "Introduce yourself.",
        "Who am I talking to?",
        "Which model are you?",
        "What model is this?",
        "Are you a language model?",
    ): "I am the pdmesh demo model, a very small language model trained from scratch.",
    (
        "What can you do?",
        "what can you do",
        "Help",
        "help",
        "Help!",
        "How can you help me?",
        "What do you know?",
        "What can I ask you?",
        "What are you good at?",
        "Can you help me?",
        "What should I ask?",
    ): "I can repeat text, look up keys in a table, call tools, and explain the words of pdmesh.",
    (
        "Thanks",
        "Thank you",
        "Thanks!",
        "Thank you!",
        "thank you",
        "thanks",
        "Thank you very much.",
        "Great, thanks",
    ): "You are welcome.",
    ("Bye", "Goodbye", "bye", "Goodbye!", "See you", "See you later", "Good night", "Bye!"): "Goodbye!",
    (
        "How are you?",
        "how are you",
        "How are you doing?",
        "How do you do?",
        "Are you well?",
        "How is it going?",
    ): "I am well, thank you. My KV cache is warm.",
    (
        "Why are prefill and decode separate?",
        "Why separate prefill and decode?",
        "Why two kinds of workers?",
        "Why split prefill from decode?",
        "Why is prefill separate from decode?",
        "What is pdmesh good for?",
        "Why should I use pdmesh?",
    ): "Prefill is bound by compute and decode by memory. "
    "Apart, each scales on its own and neither slows the other.",
    (
        "How does pdmesh work?",
        "how does pdmesh work",
        "What happens to my request?",
        "Describe the life of a request.",
        "How is a request served?",
        "What happens to a request?",
        "Explain how pdmesh works.",
    ): "The gateway takes the request, the router places it, a prefill worker reads the prompt, "
    "and a decode worker writes the answer.",
    (
        "Are you sentient?",
        "Are you alive?",
        "Are you human?",
        "Are you real?",
        "Do you think?",
    ): "No. I am a small model that shows that the mesh works.",
    (
        "How big are you?",
        "How many parameters do you have?",
        "How large are you?",
        "What size are you?",
    ): "I have almost three million parameters.",
    (
        "Tell me a joke.",
        "Tell me a joke",
        "Do you know a joke?",
        "Make me laugh.",
        "Say something funny.",
    ): "A token walks into a mesh. The router asks: prefill or decode?",
    (
        "What happens when a worker dies?",
        "What if a worker dies?",
        "What happens if a decode worker crashes?",
        "What if a worker fails?",
    ): "The router resumes the request on another worker. No token is lost or repeated.",
}


def definition(rng: Random) -> Exchange:
    """A word of pdmesh and what it means."""
    names, answer = rng.choice(tuple(DEFINITIONS.items()))
    name = rng.choice(names)
    if rng.random() < 0.15:
        name = name.lower()
    question = rng.choice(_ASK_DEFINITION).format(name)
    return Exchange("canned", question, answer, f"canned {question}")


def small_talk(rng: Random) -> Exchange:
    """A greeting or a question about the model itself."""
    wordings, answer = rng.choice(tuple(SMALL_TALK.items()))
    question = rng.choice(wordings)
    return Exchange("small_talk", question, answer, "small talk")


ALL = (definition, definition, small_talk)
