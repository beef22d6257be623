"""A repository of one's own."""

from wrenn import Capsule

with Capsule(wait=True) as capsule:
    git = capsule.git
    git.init("/home/wrenn-user/project", initial_branch="main")
    where = {"cwd": "/home/wrenn-user/project"}
    git.configure_user("Test User", "test@example.com", scope="local", **where)
    capsule.files.write("/home/wrenn-user/project/hello.txt", "hello")
    status = git.status(**where)
    assert status.branch == "main"
    assert not status.is_clean
    git.add(["hello.txt"], **where)
    assert git.status(**where).has_staged
    assert git.commit("First commit", **where).exit_code == 0
    assert git.status(**where).is_clean
    git.create_branch("feature", **where)
    branches = git.branches(**where)
    assert {branch.name for branch in branches} == {"main", "feature"}
    assert [branch.name for branch in branches if branch.is_current] == ["feature"]
    git.checkout_branch("main", **where)
    git.delete_branch("feature", **where)
    git.set_config("test.key", "value", scope="local", **where)
    assert git.get_config("test.key", scope="local", **where) == "value"
    assert git.get_config("test.none", scope="local", **where) is None
    assert "First commit" in capsule.commands.run("git log --oneline", **where).stdout
    git.clone("/home/wrenn-user/project", "/home/wrenn-user/copy")
    assert capsule.files.read("/home/wrenn-user/copy/hello.txt") == "hello"
