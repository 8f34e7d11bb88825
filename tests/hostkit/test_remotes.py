"""Which addresses of repositories are taken, by themselves and by what they resolve to."""

import ipaddress
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.hostkit import remotes
from chalicelib.hostkit.remotes import NotAllowed


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/user/repo.git", ("https", "github.com", 443)),
        ("https://github.com/user/repo", ("https", "github.com", 443)),
        ("HTTPS://GitHub.com/user/repo.git", ("https", "github.com", 443)),
        ("https://git.example.com:8443/a/b/c.git", ("https", "git.example.com", 8443)),
        ("ssh://git@git.example.com:2222/a/b.git", ("ssh", "git.example.com", 2222)),
        ("git@github.com:user/repo.git", ("ssh", "github.com", 22)),
        ("https://[2606:4700::1111]/a.git", ("https", "2606:4700::1111", 443)),
        ("http://10.1.2.3/a.git", ("http", "10.1.2.3", 80)),
    ],
)
def test_what_people_copy_is_read(url: str, expected: Any) -> None:
    remote = remotes.read(url)

    assert (remote.scheme, remote.host, remote.port) == expected
    assert remote.url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=id",
        "ext::sh -c id",
        "ext::id",
        "file:///etc/passwd",
        "/srv/repo.git",
        "../repo.git",
        "C:/repo",
        "git://github.com/user/repo.git",
        "ftp://example.com/x",
        "https://",
        "https://github.com",
        "https://github.com/",
        "https://user:secret@github.com/user/repo.git",
        "https://token@github.com/user/repo.git",
        "ssh://git:secret@github.com/user/repo.git",
        "ssh://-oProxyCommand=id@github.com/x",
        "ssh://git@-oProxyCommand=id/x",
        "git@-host:x",
        "https://github.com/user/repo.git?x=1",
        "https://github.com/user/repo.git#x",
        "https://github.com/../x",
        "https://git hub.com/x",
        "https://github.com/x\n",
        " https://github.com/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://127.1/x",
        "https://github.com:99999/x",
        "https://github.com:0/x",
        "https://github.com\\@127.0.0.1/x",
        "https://exämple.com/x",
        "https://example.com/'x'",
        "https://example.com/-x",
        "https://" + "a" * 3000 + ".com/x",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(NotAllowed):
        remotes.read(url)


@given(st.text(max_size=60))
def test_whatever_is_read_is_one_of_three_schemes_and_a_plain_host(text: str) -> None:
    try:
        remote = remotes.read(text)
    except NotAllowed:
        return
    assert remote.scheme in ("https", "http", "ssh")
    assert set(remote.host) <= set(string.ascii_lowercase + string.digits + "._-:abcdefABCDEF")
    assert not remote.host.startswith("-")
    assert not remote.url.startswith("-")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.5.5", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "::", "168.63.129.16", "100.100.100.200", "198.18.0.1",
    ],
)  # fmt: skip
def test_addresses_within_networks_are_not_asked(address: str) -> None:
    assert remotes.address_refusal("https", ipaddress.ip_address(address), []) is not None


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "168.63.129.16"])
def test_no_setting_opens_metadata_services(address: str) -> None:
    everything = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]

    assert remotes.address_refusal("https", ipaddress.ip_address(address), everything) is not None


def test_an_operator_opens_networks_and_http_to_them_alone() -> None:
    opened = [ipaddress.ip_network("10.77.0.0/16")]

    assert remotes.address_refusal("http", ipaddress.ip_address("10.77.0.1"), opened) is None
    assert remotes.address_refusal("https", ipaddress.ip_address("10.78.0.1"), opened) is not None
    assert remotes.address_refusal("http", ipaddress.ip_address("1.1.1.1"), opened) is not None
    assert remotes.address_refusal("https", ipaddress.ip_address("1.1.1.1"), opened) is None


@pytest.mark.parametrize(
    ("url", "parent", "expected"),
    [
        ("../lib.git", "https://h.example/a/app.git", "https://h.example/a/lib.git"),
        ("./lib.git", "https://h.example/a/app.git", "https://h.example/a/app.git/lib.git"),
        ("../../x/lib.git", "https://h.example/a/b/app.git", "https://h.example/a/x/lib.git"),
        ("../lib.git", "git@h.example:a/app.git", "git@h.example:a/lib.git"),
        ("../lib.git", "git@h.example:app.git", "git@h.example:lib.git"),
        ("https://other.example/x.git", "https://h.example/a/app.git", "https://other.example/x.git"),
    ],
)
def test_a_submodule_beside_its_parent_is_found(url: str, parent: str, expected: str) -> None:
    assert remotes.relative(url, parent) == expected


def test_a_relative_address_does_not_leave_its_host() -> None:
    with pytest.raises(NotAllowed):
        remotes.relative("../../../../etc", "https://h.example/a/app.git")
