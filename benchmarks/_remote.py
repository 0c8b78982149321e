"""The parent's end of a worker: a subprocess that holds one operator and runs it when asked."""

import json
import select
import subprocess
import tempfile
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


class WorkerError(RuntimeError):
    """The operator, or the process that runs it, failed; the message says how."""


class Worker:
    """A process with one operator in it. Close it, or use it in a ``with`` statement.

    Args:
        python: the interpreter, which may belong to another environment.
        adapter: a module of ``peers``.
        threads: processors that it may use; None where the script does not limit them.
        timeout: seconds that an answer may take.
        script: what the process runs.
        environment: variables of the process; by default this one's.
    """

    def __init__(
        self,
        python: str,
        adapter: str,
        threads: int | None = None,
        timeout: float = 300.0,
        script: str = "_worker.py",
        environment: dict[str, str] | None = None,
    ):
        self._timeout = timeout
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (lives as long as the process)
        command = [python, str(_FOLDER / script), adapter, *([] if threads is None else [str(threads)])]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment,
            )
        except OSError as error:
            self._log.close()
            raise WorkerError(f"cannot start {Path(python).name}: {error.strerror}") from error

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its answer; raises like both."""
        self.send(do, **arguments)
        return self.receive()

    def ask_within(self, timeout: float, do: str, **arguments: Any) -> dict[str, Any]:
        """The same, with a time limit of its own."""
        self.send(do, **arguments)
        return self.receive(timeout)

    def send(self, do: str, **arguments: Any) -> None:
        """Send a request, a method of ``_worker.Session``.

        Raises:
            WorkerError: the process has died.
        """
        stdin = self._process.stdin
        assert stdin is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=stdin, flush=True)
        except OSError as error:
            raise WorkerError(self._obituary()) from error

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for the answer to one request, by default as long as the worker's own limit.

        Raises:
            WorkerError: the request failed, the process died or took too long (it is ended then).
        """
        stdout = self._process.stdout
        assert stdout is not None
        seconds = self._timeout if timeout is None else timeout
        if not select.select([stdout], [], [], seconds)[0]:
            self._process.kill()
            raise WorkerError(f"no answer within {seconds:.0f} s")
        line = stdout.readline()
        if not line:
            raise WorkerError(self._obituary())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    @property
    def running(self) -> bool:
        """The process has not ended."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        except OSError:
            self._process.wait()
        self._log.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _obituary(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        last = [line.strip() for line in self._log if line.strip()][-1:]
        return f"the process ended with code {code}" + "".join(f": {line}" for line in last)
