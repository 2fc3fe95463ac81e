"""OpenShell's own Python package (its SDK, and the stubs that NVIDIA generated) against a gateway.

Each step says what it has seen; the first that sees something else fails the program.
Environment: GATEWAY and LAB (host:port), KEY_FILE (a service account's key), IMAGE (our descriptors).
"""

import os
import sys

import grpc
from google.protobuf import descriptor_pb2
from openshell import InferenceRouteClient, SandboxClient, WorkspaceClient
from openshell._proto import datamodel_pb2, inference_pb2, inference_pb2_grpc
from openshell._proto import openshell_pb2 as pb
from openshell._proto import openshell_pb2_grpc, sandbox_pb2

GATEWAY = os.environ["GATEWAY"]
LAB = f"http://{os.environ['LAB']}"
LIMIT_SECONDS = 20

channel = grpc.insecure_channel(GATEWAY)
stub = openshell_pb2_grpc.OpenShellStub(channel)
inference = inference_pb2_grpc.InferenceStub(channel)


def check(what, holds, seen=""):
    """Fails the program unless it holds."""
    if not holds:
        sys.exit(f"✖ {what}: {seen}")
    print(f"✓ {what}")


def refused(what, code, call):
    """A call that ends with exactly this status."""
    try:
        call()
    except grpc.RpcError as error:
        check(what, error.code() == code, f"{error.code()} {error.details()}")
        return error
    sys.exit(f"✖ {what}: was not refused")


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


# --- the messages, field by field --------------------------------------------------------------


def messages_of(file, into):
    def walk(prefix, message):
        into[f"{prefix}.{message.name}"] = message
        for nested in message.nested_type:
            walk(f"{prefix}.{message.name}", nested)

    for message in file.message_type:
        walk(file.package, message)


def shape(field):
    return (field.name, field.type, field.label, field.type_name.split(".")[-1])


def compare_descriptors():
    ours, theirs = {}, {}
    image = descriptor_pb2.FileDescriptorSet()
    with open(os.environ["IMAGE"], "rb") as file:
        image.ParseFromString(file.read())
    for file in image.file:
        messages_of(file, ours)
    for module in (pb, inference_pb2, sandbox_pb2, datamodel_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        messages_of(file, theirs)
    shared = sorted(set(ours) & set(theirs))
    wrong = []
    for name in shared:
        own = {field.number: shape(field) for field in ours[name].field}
        for field in theirs[name].field:
            if own.get(field.number, shape(field)) != shape(field):
                wrong.append(f"{name}.{field.name}: {own[field.number]}")
    check(f"{len(shared)} messages agree in number, name and type of each field", not wrong, wrong)


# --- people ------------------------------------------------------------------------------------


def status_and_whoami():
    health = stub.Health(pb.HealthRequest())
    check("Health: healthy, with a version", health.status == 1 and health.version != "", health)
    info = stub.GetGatewayInfo(pb.GetGatewayInfoRequest())
    check("GetGatewayInfo: healthy", info.status == 1 and info.gateway_version == health.version)
    user = stub.GetCurrentUser(pb.GetCurrentUserRequest())
    check(
        "GetCurrentUser: the local administrator",
        user.subject == "unauthenticated-local-dev"
        and list(user.roles) == ["openshell-user", "openshell-admin"]
        and list(user.scopes) == ["openshell:all"],
        user,
    )


def workspaces():
    client = WorkspaceClient(channel)
    made = client.create("py-team", labels={"env": "test"})
    check("WorkspaceClient: create and get", client.get("py-team") == made)
    names = [one.name for one in client.list()]
    check("WorkspaceClient: list", "py-team" in names and "default" in names, names)
    member = stub.AddWorkspaceMember(
        pb.AddWorkspaceMemberRequest(workspace="py-team", principal_subject="ann", role=1)
    )
    check("AddWorkspaceMember", member.member.principal_subject == "ann", member)
    listed = stub.ListWorkspaceMembers(pb.ListWorkspaceMembersRequest(workspace="py-team"))
    check("ListWorkspaceMembers", len(listed.members) == 1, listed)
    removed = stub.RemoveWorkspaceMember(
        pb.RemoveWorkspaceMemberRequest(workspace="py-team", principal_subject="ann")
    )
    check("RemoveWorkspaceMember", removed.removed)
    check("WorkspaceClient: delete", client.delete("py-team"))
    refused("an unknown workspace", grpc.StatusCode.NOT_FOUND, lambda: client.get("py-team"))
    refused(
        "the default workspace stays",
        grpc.StatusCode.FAILED_PRECONDITION,
        lambda: client.delete("default"),
    )


def settings():
    before = stub.GetGatewayConfig(sandbox_pb2.GetGatewayConfigRequest())
    check("GetGatewayConfig lists every setting", len(before.settings) == 4, before)
    value = sandbox_pb2.SettingValue(bool_value=True)
    request = pb.UpdateConfigRequest(
        setting_key="providers_v2_enabled", setting_value=value, **{"global": True}
    )
    stub.UpdateConfig(request)
    after = stub.GetGatewayConfig(sandbox_pb2.GetGatewayConfigRequest())
    check(
        "UpdateConfig: the setting stands, the revision rose",
        after.settings["providers_v2_enabled"].bool_value
        and after.settings_revision > before.settings_revision,
        after,
    )
    refused(
        "an unknown setting",
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: stub.UpdateConfig(
            pb.UpdateConfigRequest(
                setting_key="colour", setting_value=value, **{"global": True}
            )
        ),
    )


def provider_named(name, **fields):
    return datamodel_pb2.Provider(
        metadata=datamodel_pb2.ObjectMeta(name=name, workspace="default"), **fields
    )


def providers():
    key = open(os.environ["KEY_FILE"], encoding="utf-8").read()
    place = f"{LAB}/v1/projects/demo-project/locations/us-east1"
    vertex = provider_named(
        "py-vertex",
        type="google-vertex-ai",
        credentials={"GOOGLE_SERVICE_ACCOUNT_KEY": key},
        config={"VERTEX_BASE_URL": place},
    )
    made = stub.CreateProvider(pb.CreateProviderRequest(provider=vertex)).provider
    check("CreateProvider: version 1, an id", made.metadata.resource_version == 1, made)
    check("credentials are redacted", set(made.credentials.values()) == {"REDACTED"}, made)
    openai = provider_named(
        "py-openai",
        type="openai",
        credentials={"OPENAI_API_KEY": "sk-python"},
        config={"OPENAI_BASE_URL": f"{LAB}/v1"},
    )
    stub.CreateProvider(pb.CreateProviderRequest(provider=openai))
    refused(
        "a name that is taken",
        grpc.StatusCode.ALREADY_EXISTS,
        lambda: stub.CreateProvider(pb.CreateProviderRequest(provider=openai)),
    )
    listed = stub.ListProviders(pb.ListProvidersRequest(limit=100, workspace="default"))
    names = [one.metadata.name for one in listed.providers]
    check("ListProviders", names == ["py-openai", "py-vertex"], names)
    stale = provider_named("py-openai", config={"A": "b"})
    stale.metadata.resource_version = 7
    refused(
        "a stale version",
        grpc.StatusCode.ABORTED,
        lambda: stub.UpdateProvider(pb.UpdateProviderRequest(provider=stale)),
    )
    updated = stub.UpdateProvider(
        pb.UpdateProviderRequest(provider=provider_named("py-openai", config={"A": "b"}))
    ).provider
    check("UpdateProvider merges", updated.config["A"] == "b" and len(updated.config) == 2)
    check("a version more", updated.metadata.resource_version == 2, updated)
    refused(
        "another type",
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: stub.UpdateProvider(
            pb.UpdateProviderRequest(provider=provider_named("py-openai", type="anthropic"))
        ),
    )


def profiles():
    listed = stub.ListProviderProfiles(pb.ListProviderProfilesRequest(limit=100))
    ids = [one.id for one in listed.profiles]
    check(f"ListProviderProfiles: {len(ids)}", "google-vertex-ai" in ids, ids)
    one = stub.GetProviderProfile(pb.GetProviderProfileRequest(id="google-vertex-ai"))
    check("GetProviderProfile", one.profile.inference_capable, one)


def refresh():
    status = stub.GetProviderRefreshStatus(
        pb.GetProviderRefreshStatusRequest(provider="py-vertex")
    ).credentials
    check("GetProviderRefreshStatus", len(status) == 1 and status[0].expires_at_ms > 0, status)
    key = status[0].credential_key
    rotated = stub.RotateProviderCredential(
        pb.RotateProviderCredentialRequest(provider="py-vertex", credential_key=key)
    ).status
    check("RotateProviderCredential", rotated.last_refresh_at_ms > 0, rotated)


def routes():
    client = InferenceRouteClient(channel)
    refused(
        "a route that is not set",
        grpc.StatusCode.NOT_FOUND,
        lambda: client.get_route(workspace="default"),
    )
    client.set_route(
        workspace="default",
        provider_name="py-vertex",
        model_id="claude-sonnet-4-5",
        no_verify=True,
    )
    route = client.get_route(workspace="default")
    check("InferenceRouteClient: set and get", route.provider_name == "py-vertex", route)
    system = inference.SetInferenceRoute(
        inference_pb2.SetInferenceRouteRequest(
            provider_name="py-openai",
            model_id="gpt-x",
            route_name="sandbox-system",
            no_verify=True,
        )
    )
    check("SetInferenceRoute: the system's own", system.route_name == "sandbox-system", system)
    refused(
        "a route to nobody",
        grpc.StatusCode.FAILED_PRECONDITION,
        lambda: inference.SetInferenceRoute(
            inference_pb2.SetInferenceRouteRequest(provider_name="nobody", model_id="m")
        ),
    )


# --- sandboxes and their supervisors -----------------------------------------------------------


def sandboxes():
    client = SandboxClient(GATEWAY)
    spec = pb.SandboxSpec(environment={"A": "b"}, command=["true"])
    made = client.create(workspace="default", spec=spec, name="py-box", labels={"env": "test"})
    check("SandboxClient: create and get", client.get("py-box", workspace="default").id == made.id)
    ids = client.list_ids(workspace="default")
    check("SandboxClient: list_ids", made.id in ids, ids)
    for provider_name in ("py-vertex", "py-openai"):
        answer = stub.AttachSandboxProvider(
            pb.AttachSandboxProviderRequest(sandbox_name="py-box", provider_name=provider_name)
        )
        check(f"AttachSandboxProvider {provider_name}", answer.attached, answer)
    again = stub.AttachSandboxProvider(
        pb.AttachSandboxProviderRequest(sandbox_name="py-box", provider_name="py-openai")
    )
    check("attached already", not again.attached, again)
    refused(
        "a stale version of the sandbox",
        grpc.StatusCode.ABORTED,
        lambda: stub.DetachSandboxProvider(
            pb.DetachSandboxProviderRequest(
                sandbox_name="py-box", provider_name="py-openai", expected_resource_version=1
            )
        ),
    )
    listed = stub.ListSandboxProviders(pb.ListSandboxProvidersRequest(sandbox_name="py-box"))
    names = [one.metadata.name for one in listed.providers]
    check("ListSandboxProviders, in order", names == ["py-vertex", "py-openai"], names)
    refused(
        "an attached provider stays",
        grpc.StatusCode.FAILED_PRECONDITION,
        lambda: stub.DeleteProvider(pb.DeleteProviderRequest(name="py-openai")),
    )
    return made.id


def token_of(name):
    """The token comes from a method of our own, so its messages are written by hand here."""
    call = channel.unary_unary("/openshell.delivery.v1.Delivery/CreateSandboxToken")
    answer = call(b"\x0a" + bytes([len(name)]) + name.encode(), timeout=LIMIT_SECONDS)
    length, at, shift = 0, 1, 0
    while True:
        length |= (answer[at] & 0x7F) << shift
        shift += 7
        at += 1
        if answer[at - 1] < 0x80:
            return answer[at : at + length].decode()


def supervisor(sandbox_id):
    token = token_of("py-box")
    fresh = stub.RefreshSandboxToken(pb.RefreshSandboxTokenRequest(), metadata=bearer(token))
    check("RefreshSandboxToken", fresh.expires_at_ms > 0 and fresh.token != token)
    metadata = bearer(fresh.token)
    config = sandbox_pb2.GetSandboxConfigRequest(sandbox_id=sandbox_id)
    booted = stub.GetSandboxConfig(config, metadata=metadata)
    check("GetSandboxConfig: no policy yet", not booted.HasField("policy"), booted)
    policy = sandbox_pb2.SandboxPolicy(version=1)
    synced = stub.UpdateConfig(
        pb.UpdateConfigRequest(name="py-box", policy=policy), metadata=metadata
    )
    check("UpdateConfig: the policy that it started with", synced.version == 1, synced)
    known = stub.GetSandboxConfig(config, metadata=metadata)
    check("GetSandboxConfig: that policy", known.policy_hash == synced.policy_hash, known)
    wish = pb.GetSandboxProviderEnvironmentRequest(
        sandbox_id=sandbox_id, supports_static_credential_bindings=True
    )
    environment = stub.GetSandboxProviderEnvironment(wish, metadata=metadata)
    held = environment.environment
    check("a token is in the environment", "GOOGLE_VERTEX_AI_TOKEN" in held, list(held))
    check("a static key is", held["OPENAI_API_KEY"] == "sk-python")
    check("the service account's key is not", not any("PRIVATE" in one for one in held.values()))
    check("GCP_PROJECT_ID", held["GCP_PROJECT_ID"] == "demo-project")
    check("the revision that the poll tells", known.provider_env_revision == environment.provider_env_revision)
    secrets = set(held) - set(environment.non_secret_environment_keys)
    check("each secret is bound", secrets == set(environment.static_credential_bindings), secrets)
    bundle = inference.GetInferenceBundle(
        inference_pb2.GetInferenceBundleRequest(), metadata=metadata
    )
    check("GetInferenceBundle: both routes", len(bundle.routes) == 2, bundle.revision)
    stub.ReportPolicyStatus(
        pb.ReportPolicyStatusRequest(sandbox_id=sandbox_id, version=1, status=2), metadata=metadata
    )
    stub.ReportMainProcessExit(
        pb.ReportMainProcessExitRequest(sandbox_id=sandbox_id, instance_id="i", exit_code=0),
        metadata=metadata,
    )
    box = stub.GetSandbox(pb.GetSandboxRequest(name="py-box")).sandbox
    check("what was reported is told", box.status.current_policy_version == 1, box.status)
    logs = [pb.PushSandboxLogsRequest(sandbox_id=sandbox_id, logs=[pb.SandboxLogLine()])]
    stub.PushSandboxLogs(iter(logs * 3), metadata=metadata)
    check("PushSandboxLogs", True)
    hello = pb.SupervisorMessage(hello=pb.SupervisorHello(sandbox_id=sandbox_id, instance_id="i"))
    beat = pb.SupervisorMessage(heartbeat=pb.SupervisorHeartbeat())
    session = list(stub.ConnectSupervisor(iter([hello, beat]), metadata=metadata))
    kinds = [one.WhichOneof("payload") for one in session]
    check("ConnectSupervisor", kinds == ["session_accepted", "heartbeat"], kinds)
    refused(
        "another sandbox's environment",
        grpc.StatusCode.PERMISSION_DENIED,
        lambda: stub.GetSandboxConfig(
            sandbox_pb2.GetSandboxConfigRequest(sandbox_id="other"), metadata=metadata
        ),
    )
    refused(
        "a person asks for a bundle",
        grpc.StatusCode.PERMISSION_DENIED,
        lambda: inference.GetInferenceBundle(inference_pb2.GetInferenceBundleRequest()),
    )
    refused(
        "a forged token",
        grpc.StatusCode.UNAUTHENTICATED,
        lambda: stub.GetSandboxConfig(config, metadata=bearer("x.y.z")),
    )


def what_is_not_here(sandbox_id):
    calls = {
        "ExecSandbox": lambda: list(
            stub.ExecSandbox(pb.ExecSandboxRequest(sandbox_id=sandbox_id, command=["true"]))
        ),
        "WatchSandbox": lambda: list(stub.WatchSandbox(pb.WatchSandboxRequest(id=sandbox_id))),
        "CreateSshSession": lambda: stub.CreateSshSession(pb.CreateSshSessionRequest()),
        "GetDraftPolicy": lambda: stub.GetDraftPolicy(pb.GetDraftPolicyRequest()),
        "ForwardTcp": lambda: list(stub.ForwardTcp(iter([pb.TcpForwardFrame()]))),
    }
    for name, call in calls.items():
        refused(f"{name} is not here", grpc.StatusCode.UNIMPLEMENTED, call)


def goodbye():
    stub.DetachSandboxProvider(
        pb.DetachSandboxProviderRequest(sandbox_name="py-box", provider_name="py-openai")
    )
    check("SandboxClient: delete", SandboxClient(GATEWAY).delete("py-box", workspace="default"))
    client = InferenceRouteClient(channel)
    client.delete_route(workspace="default")
    refused(
        "the route is gone",
        grpc.StatusCode.NOT_FOUND,
        lambda: client.get_route(workspace="default"),
    )
    key = stub.GetProviderRefreshStatus(
        pb.GetProviderRefreshStatusRequest(provider="py-vertex")
    ).credentials[0].credential_key
    gone = stub.DeleteProviderRefresh(
        pb.DeleteProviderRefreshRequest(provider="py-vertex", credential_key=key)
    )
    check("DeleteProviderRefresh", gone.deleted)
    for name in ("py-vertex", "py-openai"):
        check(f"DeleteProvider {name}", stub.DeleteProvider(pb.DeleteProviderRequest(name=name)).deleted)
    check("deleting nobody", not stub.DeleteProvider(pb.DeleteProviderRequest(name="x")).deleted)


def main():
    compare_descriptors()
    status_and_whoami()
    workspaces()
    settings()
    providers()
    profiles()
    refresh()
    routes()
    sandbox_id = sandboxes()
    supervisor(sandbox_id)
    what_is_not_here(sandbox_id)
    goodbye()


main()
