"""A peer that treats one kimi-cli login as kimi-cli 1.49 does: its lock, its order of steps, its way of writing.

refresh          renews the login if it is due (--force: in any case) and prints what happened as a line of JSON
hold             takes the lock, prints {"held": true} and keeps it until stdin ends

Reads KIMI_SHARE_DIR (default ~/.kimi) and KIMI_CODE_OAUTH_HOST. Standard library only.
"""

import argparse
import contextlib
import fcntl
import json
import os
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

CLIENT_ID = "17e5f671-d194-4dfb-9706-5516cb48c098"
HEADERS = {
    "User-Agent": "KimiCLI/1.49.0",
    "X-Msh-Platform": "kimi_cli",
    "X-Msh-Version": "1.49.0",
    "X-Msh-Device-Name": "peer",
    "X-Msh-Device-Model": "Linux 6 x86_64",
    "X-Msh-Os-Version": "peer",
    "X-Msh-Device-Id": "0" * 32,
}
LOCK_TRIES = 6
TOKEN_TRIES = 3

SHARE = Path(os.environ.get("KIMI_SHARE_DIR") or Path.home() / ".kimi")
FILE = SHARE / "credentials" / "kimi-code.json"
LOCK = SHARE / "credentials" / "kimi-code.lock"


def read():
    try:
        token = json.loads(FILE.read_text())
    except (OSError, ValueError):
        return None
    return token if isinstance(token, dict) and token.get("refresh_token") else None


def write(token):
    """Temp file in the same directory, fsync, rename."""
    descriptor, name = tempfile.mkstemp(dir=FILE.parent, prefix=".kimi-code.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(token))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o600)
        os.replace(name, FILE)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def is_due(token):
    left = float(token.get("expires_at") or 0) - time.time()
    return left < max(300, float(token.get("expires_in") or 0) / 2)


def open_lock():
    FILE.parent.mkdir(parents=True, exist_ok=True)
    return os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(descriptor):
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def wait_for_lock(descriptor):
    """Six tries over 8 s, then on without the lock; kimi-cli takes 5 to 11 s, by chance."""
    for attempt in range(LOCK_TRIES):
        if try_lock(descriptor):
            return True
        if attempt < LOCK_TRIES - 1:
            time.sleep(1.6)
    return False


def request_tokens(refresh_token):
    """(status, body) of the token endpoint; status 0 where the connection failed."""
    host = os.environ["KIMI_CODE_OAUTH_HOST"].rstrip("/")
    form = {"client_id": CLIENT_ID, "grant_type": "refresh_token", "refresh_token": refresh_token}
    request = urllib.request.Request(
        f"{host}/api/oauth/token", urllib.parse.urlencode(form).encode(), HEADERS
    )
    # No proxy: the host is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None
    except (OSError, ValueError):
        return 0, None


def renew(token):
    for attempt in range(TOKEN_TRIES):
        status, body = request_tokens(token["refresh_token"])
        if status == 200 and body:
            lifetime = float(body["expires_in"])
            write(
                {
                    "access_token": body["access_token"],
                    "refresh_token": body["refresh_token"],
                    "expires_at": time.time() + lifetime,
                    "scope": body["scope"],
                    "token_type": body["token_type"],
                    "expires_in": lifetime,
                }
            )
            return "refreshed"
        if status in (400, 401, 403):
            latest = read()
            if latest and latest["refresh_token"] != token["refresh_token"]:
                return "adopted"
            return "rejected"
        if attempt < TOKEN_TRIES - 1:
            time.sleep(2**attempt)
    return "still-valid" if float(token["expires_at"]) > time.time() else "failed"


def refresh(force):
    seen = read()
    if seen is None:
        return {"outcome": "absent"}
    if not force and not is_due(seen):
        return {"outcome": "not-due"}
    descriptor = open_lock()
    try:
        locked = wait_for_lock(descriptor)
        latest = read()
        if latest is None:
            outcome = "absent"
        elif latest["refresh_token"] != seen["refresh_token"] and not is_due(latest):
            outcome = "adopted"
        else:
            outcome = renew(latest)
        return {"outcome": outcome, "locked": locked}
    finally:
        os.close(descriptor)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=["refresh", "hold"])
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    if arguments.step == "refresh":
        print(json.dumps(refresh(arguments.force)), flush=True)
        return
    held = try_lock(open_lock())
    print(json.dumps({"held": held}), flush=True)
    if held:
        sys.stdin.read()


main()
