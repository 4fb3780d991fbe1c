"""A folder's way to the Hugging Face hub: private unless said otherwise, and never without being asked.

The token comes from where the hub's own tools keep it (`HF_TOKEN`, or what `hf auth login` wrote). Whatever can be
known to fail is known before anything is exported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from side4video.core.errors import InputError, Side4VideoError
from side4video.spec.bundle import BUNDLE, Bundle

OPTION = "--push"


class Hub:
    """The place of one model on the hub."""

    def __init__(self, repository: str, *, public: bool = False, api: Any = None) -> None:
        """Nothing is asked yet.

        `repository` is `namespace/name`; `api` is a `huggingface_hub.HfApi`, which is created if it is None.
        """
        from huggingface_hub import HfApi

        self.repository, self.public = repository, public
        self.api = api or HfApi(library_name="side4video")

    def check(self) -> None:
        """Look whether the model can be sent there.

        Raises:
            InputError: The name is none, there is no token, it may not write there, or what is there is public and
                `public` was not said.
            Side4VideoError: The hub cannot be reached.
        """
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
        from huggingface_hub.utils import validate_repo_id

        try:
            validate_repo_id(self.repository)
        except HFValidationError as error:
            raise InputError(OPTION, f"{self.repository!r}: {error}", allowed="NAMESPACE/NAME") from None
        if "/" not in self.repository:
            raise InputError(OPTION, f"{self.repository!r} has no namespace", allowed="NAMESPACE/NAME")
        self._check_token()
        with self._readable_errors():
            try:
                found = self.api.repo_info(self.repository, repo_type="model")
            except RepositoryNotFoundError:
                return
        if not found.private and not self.public:
            raise InputError(
                OPTION,
                f"{self.repository} is there, and everybody may read it",
                fix="add --public, name another one, or make it private on its page",
            )

    def push(self, folder: Path, bundle: Bundle) -> str:
        """Send the files of a bundle, and nothing else of its folder.

        Returns:
            The model's page.

        Raises:
            InputError: The token may not write there.
            Side4VideoError: The hub cannot be reached, or refuses.
        """
        with self._readable_errors():
            made = self.api.create_repo(self.repository, repo_type="model", private=not self.public, exist_ok=True)
            self.api.upload_folder(
                repo_id=self.repository,
                folder_path=str(folder),
                repo_type="model",
                commit_message=f"{bundle.name}, exported by side4video",
                allow_patterns=[BUNDLE, *bundle.checksums],
            )
        return str(made)

    def _check_token(self) -> None:
        from huggingface_hub import get_token

        if not (getattr(self.api, "token", None) or get_token()):
            raise InputError(
                OPTION,
                "there is no token of the Hugging Face hub",
                fix="export HF_TOKEN=..., or `hf auth login`; it needs the right to write",
            )

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        """The hub's errors as one line each; what it answers, but no header and no token."""
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        # Of whichever client the hub's package has: its name has changed more than once.
        any_error: Any = import_module("huggingface_hub.errors").HTTPError

        try:
            yield
        except OfflineModeIsEnabled:
            raise InputError(OPTION, "HF_HUB_OFFLINE is set", fix="unset it, or export without --push") from None
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            said = f"the hub answers {status}{f': {error.server_message}' if error.server_message else ''}"
            if status in (401, 403):
                fix = f"take a token that may write to {self.repository} (HF_TOKEN, or `hf auth login`)"
                raise InputError(OPTION, said, fix=fix) from None
            raise Side4VideoError(f"{OPTION}: {said}") from None
        except (any_error, OSError) as error:
            reason = str(error).strip() or type(error).__name__
            raise Side4VideoError(f"{OPTION}: the hub cannot be reached: {reason}") from None
