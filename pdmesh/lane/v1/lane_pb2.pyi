from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class FindRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FindResponse(_message.Message):
    __slots__ = ("port", "takes_token_frames")
    PORT_FIELD_NUMBER: _ClassVar[int]
    TAKES_TOKEN_FRAMES_FIELD_NUMBER: _ClassVar[int]
    port: int
    takes_token_frames: bool
    def __init__(self, port: _Optional[int] = ..., takes_token_frames: _Optional[bool] = ...) -> None: ...

class Opening(_message.Message):
    __slots__ = ("method", "secret", "takes_token_frames")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    TAKES_TOKEN_FRAMES_FIELD_NUMBER: _ClassVar[int]
    method: str
    secret: str
    takes_token_frames: bool
    def __init__(self, method: _Optional[str] = ..., secret: _Optional[str] = ..., takes_token_frames: _Optional[bool] = ...) -> None: ...
