"""The directory of a FileCache: who may own and change it, what is written, and lock files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import FileCache
from auth_plugins._caches.directory import Directory
from tests.caches.test_shared_trouble import REST
from tests.cli.test_cli import Run, client
from tests.cli.test_cli import run as run_of_cli
from tests.support.loopback import Clock, Loopback
from tests.support.sources import Endpoint, expire
from tests.support.stores import KEY, in_files, logged, name_of, process

run = run_of_cli
needs_owners = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows knows no owner by number")


# Whose it must be


def _with_mode(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        path.chmod(mode)

    return make


def _link(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    path.symlink_to(elsewhere)


def _file(path: Path) -> None:
    path.write_text("no directory")
    path.chmod(0o666)


#: How a directory that is refused is made, and what the warning says.
REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "all may write, as in /tmp": (_with_mode(0o1777), "(mode 1777); run `chmod 700 "),
    "the group may write": (_with_mode(0o770), "group or others may write to the directory "),
    "others may write": (_with_mode(0o702), "(mode 0702); run `chmod 700 "),
    "a link": (_link, " is a link; give the directory that it leads to"),
    "a link to itself": (lambda path: path.symlink_to(path), " is a link; "),
    "a file": (_file, "Not a directory"),
}


def _is_empty(directory: Path) -> bool:
    return not directory.is_dir() or list(directory.iterdir()) == []


@needs_owners
@pytest.mark.parametrize("kind", REFUSED)
def test_a_directory_that_others_can_change_is_not_used(
    kind: str, endpoint: Endpoint, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is stored in a directory that other users can change; one warning says what to do."""
    make, problem = REFUSED[kind]
    directory = tmp_path / "tokens"
    make(directory)
    store = in_files(directory)
    tokens = process(store, endpoint)
    for _ in range(3):
        tokens.token()
        expire(clock)
    tokens.revoke()
    assert len(endpoint.requests) == 3
    [warning] = logged(caplog)
    assert "FileCache is out of order" in warning
    assert problem in warning
    assert str(directory) in warning
    assert "\n" not in warning
    assert _is_empty(directory)
    assert process(store, endpoint).token().access_token == "token-4"


@needs_owners
def test_a_directory_is_checked_each_time(
    endpoint: Endpoint, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory that others can change by now is not used any more; after the chmod it is used again."""
    store = in_files(tmp_path / "tokens")
    process(store, endpoint).token()
    (tmp_path / "tokens").chmod(0o777)
    tokens = process(store, endpoint)
    assert tokens.token().access_token == "token-2"
    (tmp_path / "tokens").chmod(0o700)
    clock.forward(REST)
    expire(clock)
    tokens.token()
    assert "works again" in logged(caplog)[-1]
    assert process(store, endpoint).token() == tokens.token()


@needs_owners
@pytest.mark.parametrize("mode", [0o700, 0o1700, 0o755])
def test_a_directory_that_others_only_read_is_used(endpoint: Endpoint, tmp_path: Path, mode: int) -> None:
    """A directory that only its owner can change is used, and its mode stays as it is."""
    _with_mode(mode)(tmp_path / "tokens")
    store = in_files(tmp_path / "tokens")
    assert process(store, endpoint).token() == process(store, endpoint).token()
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == mode


@needs_owners
def test_a_link_above_the_directory_is_followed(endpoint: Endpoint, tmp_path: Path) -> None:
    """A link above the directory is followed: /tmp and /home are links on some systems."""
    _link(tmp_path / "above")
    store = in_files(tmp_path / "above" / "tokens")
    assert process(store, endpoint).token() == process(store, endpoint).token()
    assert (tmp_path / "elsewhere" / "tokens").is_dir()


@needs_owners
def test_a_new_directory_below_a_group_directory_is_used(endpoint: Endpoint, tmp_path: Path) -> None:
    """A directory that is made below one with the setgid bit, whose mode is 2700, is used."""
    _with_mode(0o2770)(tmp_path / "team")
    store = in_files(tmp_path / "team" / "tokens")
    assert process(store, endpoint).token() == process(store, endpoint).token()
    assert stat.S_IMODE((tmp_path / "team" / "tokens").stat().st_mode) & 0o777 == 0o700


@needs_owners
def test_a_directory_that_takes_the_place_of_the_checked_one_is_not_used(tmp_path: Path) -> None:
    """Files are looked up in the directory that was checked, even if its path leads elsewhere meanwhile."""
    mine, swapped = tmp_path / "tokens", tmp_path / "swapped"
    mine.mkdir()
    with Directory(mine) as directory:
        mine.rename(swapped)
        mine.mkdir()
        (mine / "name.token").write_text("of another user")
        descriptor = directory.open("name.new", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"mine")
        os.close(descriptor)
        directory.replace("name.new", "name.token")
        assert directory.names() == ["name.token"]
        assert (swapped / "name.token").read_text() == "mine"
        directory.remove("name.token")
    assert list(swapped.iterdir()) == []
    assert (mine / "name.token").read_text() == "of another user"


@needs_owners
def test_a_directory_that_changes_while_it_is_opened_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that is replaced between the check of its path and its opening is checked again."""
    mine, open_file = tmp_path / "tokens", os.open
    mine.mkdir(mode=0o700)

    def open_late(path: Any, *arguments: Any, **more: Any) -> int:
        mine.rename(tmp_path / "before")
        _with_mode(0o777)(mine)
        return open_file(path, *arguments, **more)

    monkeypatch.setattr(os, "open", open_late)
    with pytest.raises(PermissionError, match="may write to the directory"):
        Directory(mine)


@needs_owners
def test_a_directory_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """No descriptor stays open after directories were used and refused."""
    _with_mode(0o777)(tmp_path / "refused")
    cache, refused = FileCache(tmp_path / "tokens"), FileCache(tmp_path / "refused")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(50):
        cache.set("name", "text", 60)
        assert (cache.get("name"), cache.names()) == ("text", ["name"])
        with cache.lock("name", 1):
            cache.delete("name")
        with pytest.raises(PermissionError):
            refused.get("name")
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_directory_that_vanishes_is_made_again(endpoint: Endpoint, clock: Clock, tmp_path: Path) -> None:
    """A directory that is removed during a token request is made again, and the token is stored."""
    store = in_files(tmp_path / "tokens")
    tokens = process(store, endpoint)

    def remove() -> Any:
        for path in (tmp_path / "tokens").iterdir():
            path.unlink()
        (tmp_path / "tokens").rmdir()
        return endpoint.issue

    endpoint.script = [remove]
    assert tokens.token() == process(store, endpoint).token()
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o700
    remove()
    assert FileCache(tmp_path / "tokens").names() == []
    FileCache(tmp_path / "tokens").delete("name")
    FileCache(tmp_path / "tokens").remove_free_locks()
    assert not (tmp_path / "tokens").exists()


def test_without_owners_nothing_is_checked(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On Windows, where modes mean nothing, each directory is used."""
    monkeypatch.delattr(os, "geteuid", raising=False)
    store = in_files(tmp_path / "above" / "tokens")
    assert process(store, endpoint).token() == process(store, endpoint).token()
    (tmp_path / "above" / "tokens").chmod(0o777)
    tokens = process(store, endpoint)
    assert tokens.token().access_token == "token-1"
    (tmp_path / "above" / "tokens" / f"{name_of(tokens)}.token").unlink()
    (tmp_path / "above" / "tokens" / f"{name_of(tokens)}.token").symlink_to("elsewhere")
    assert process(store, endpoint).token().access_token == "token-2"
    FileCache(tmp_path / "above" / "tokens").delete(name_of(tokens))
    assert FileCache(tmp_path / "above" / "tokens").names() == []
    assert [text for text in logged(caplog) if "damaged" not in text] == []


@needs_owners
@pytest.mark.parametrize("words", [("cache", "list"), ("cache", "clear"), ("check", "ACME")])
def test_the_command_line_shows_why_a_directory_is_refused(
    run: Run, server: Loopback, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """`auth-plugins cache list`, `cache clear` and `check` fail with the reason, and say what to do."""
    _with_mode(0o777)(tmp_path / "tokens")
    where = f"file:{tmp_path / 'tokens'}"
    outcome = run(*words, **client(server), AUTH_PLUGINS_CACHE=where, ACME_CACHE=where)
    assert outcome.status == 1
    shown = outcome.err if words[0] == "cache" else "".join(outcome.out.decode().split("\n"))
    assert f"run `chmod 700 {tmp_path / 'tokens'}`" in shown
    if words[0] == "cache":
        assert (outcome.out, outcome.err.count("\n")) == (b"", 1)


# What is written, and how


def test_an_entry_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut leaves the old or the new entry: its file is synced, then renamed, then the directory is synced.

    A file system that cannot sync directories is used all the same.
    """
    happened: list[tuple[str, Any]] = []
    sync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        happened.append(("sync", "directory" if stat.S_ISDIR(status.st_mode) else status.st_size))
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EINVAL, "this file system cannot sync directories")
        sync(descriptor)

    def note_replace(path: Any, target: Any, **more: Any) -> None:
        happened.append(("rename", Path(target).name))
        replace(path, target, **more)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    FileCache(tmp_path / "tokens").set("name", "text", 60)
    assert happened[:2] == [("sync", 4), ("rename", "name.token")]
    # Windows opens no directory.
    assert happened[2:] == ([("sync", "directory")] if hasattr(os, "geteuid") else [])


@needs_owners
def test_a_file_system_without_locks_is_not_used(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file system without locks is not used: a soft lock would outlive a process that is killed."""
    import fcntl

    def missing(*_: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    store = in_files(tmp_path / "tokens")
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", missing)
        assert process(store, endpoint).token().access_token == "token-1"
        assert process(store, endpoint).token().access_token == "token-2"
    warnings = logged(caplog)
    assert len(warnings) == 2
    assert all("FileCache is out of order (lock: OSError" in warning for warning in warnings)


# Locks


def _locks(directory: Path) -> list[str]:
    return [path.name for path in directory.glob("*.lock")]


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no open file")
def test_clearing_all_removes_the_lock_files(run: Run, server: Loopback, tmp_path: Path) -> None:
    """`auth-plugins cache clear --all` leaves the directory empty."""
    directory = tmp_path / "tokens"
    variables = {**client(server), "ACME_CACHE": f"file:{directory}", "ACME_CACHE_KEY": KEY}
    assert run("token", "ACME", **variables).status == 0
    assert len(_locks(directory)) == 2
    (directory / "killed.new").write_text("what a killed process left")
    assert run("cache", "clear", "ACME", "--all").status == 0
    assert list(directory.iterdir()) == []
    assert run("token", "ACME").status == 0
    assert run("cache", "clear", AUTH_PLUGINS_CACHE=f"file:{directory}").status == 0
    assert list(directory.iterdir()) == []


def test_a_lock_that_is_held_is_left_alone(tmp_path: Path) -> None:
    """A lock that is held, and its file, are not removed."""
    cache = FileCache(tmp_path / "tokens")
    with cache.lock("held", 1), cache.lock("free", 1):
        pass
    with cache.lock("held", 1) as held:
        assert held is True
        FileCache(tmp_path / "tokens").remove_free_locks()
        assert _locks(tmp_path / "tokens") == ["held.lock"]
        with cache.lock("held", 1) as second:
            assert second is False
    cache.remove_free_locks()
    assert _locks(tmp_path / "tokens") == []


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no open file")
def test_a_removed_lock_file_has_no_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that opened a lock file before it was removed does not hold the lock when it locks the file later."""
    import fcntl

    cache, lock = FileCache(tmp_path / "tokens"), fcntl.flock
    with cache.lock("name", 1):
        pass

    def lock_late(descriptor: int, operation: int) -> None:
        if not operation & fcntl.LOCK_EX:  # a look at whether it is held
            lock(descriptor, operation)
            return
        monkeypatch.setattr(fcntl, "flock", lock)
        cache.remove_free_locks()
        assert _locks(tmp_path / "tokens") == []
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with cache.lock("name", 1) as late:
        assert late is False
        with cache.lock("name", 1) as other:
            assert other is True


def test_a_lock_file_that_cannot_be_locked_stays(tmp_path: Path) -> None:
    """A directory with the name of a lock file is left, and the other lock files are removed."""
    cache = FileCache(tmp_path / "tokens")
    with cache.lock("z", 1):
        pass
    (tmp_path / "tokens" / "a.lock").mkdir()
    cache.remove_free_locks()
    assert (tmp_path / "tokens" / "a.lock").is_dir()


@needs_owners
def test_no_method_touches_the_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process neither reads nor writes a directory that another user made; the error names both users."""
    cache, owner = FileCache(tmp_path / "cache"), os.geteuid()
    cache.set("name", "text", 60)
    before = {path: path.stat() for path in tmp_path.glob("**/*")}
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    for step in (
        lambda: cache.get("name"),
        cache.names,
        lambda: cache.delete("name"),
        lambda: cache.set("name", "other", 60),
        lambda: cache.lock("name", 1).__enter__(),
    ):
        with pytest.raises(PermissionError, match=f"to user {owner}, and this process runs as user {owner + 1}"):
            step()
    assert {path: path.stat().st_mtime for path in tmp_path.glob("**/*")} == {
        path: status.st_mtime for path, status in before.items()
    }
