"""Models by name on the Hugging Face hub: the files that make text, no weights."""

from pathlib import Path

from services.common.errors import ModelMissing

TEXT_FILES = ("*.json", "*.jinja", "tokenizer*")


def model_directory(model: str) -> Path:
    """The directory `model`, or a copy of the hub's files where `model` is a name such as org/name.

    Raises `ModelMissing` when there is neither, or the hub cannot be reached and holds no copy here.
    """
    path = Path(model).expanduser()
    is_name = model.count("/") == 1 and not model.startswith((".", "/", "~"))
    if path.is_dir() or not is_name:
        return path
    try:
        from huggingface_hub import snapshot_download  # comes with the engines; half a second to import

        return Path(snapshot_download(model, allow_patterns=list(TEXT_FILES)))
    except Exception as error:  # its errors have no base of their own, and all mean the same here
        reason = str(error).strip().partition("\n")[0]
        raise ModelMissing(f"{model} is no directory, and the hub does not give it: {reason}") from None
