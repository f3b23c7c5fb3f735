"""CLAP-NTP on a vision-language model: pictures and a sentence in, action tokens out. See ``net`` and ``brain``.

Nothing here imports transformers or peft until a base model is opened.
"""
