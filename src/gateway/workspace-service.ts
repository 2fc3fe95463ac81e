import { create } from '@bufbuild/protobuf'
import { AppError } from '../core/errors.ts'
import {
  DEFAULT_WORKSPACE,
  type MemberRole,
  type WorkspaceMember,
  type WorkspaceRecord,
} from '../core/workspace.ts'
import type { Store, WorkspaceRemains } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import {
  type Workspace,
  WorkspacePhase,
  WorkspaceSchema,
} from '../wire/gen/openshell/datamodel/v1/datamodel_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import {
  type WorkspaceMember as WireMember,
  WorkspaceMemberSchema,
  WorkspaceRole,
} from '../wire/gen/openshell/v1/workspace_pb.ts'
import { checkLabels, parseSelector } from './labels.ts'
import { adminRpc, changeRpc, type Rpc } from './rpc.ts'
import { uuid } from './uuid.ts'
import { checkPage, checkWorkspace } from './validate.ts'

const NAME_CHARS_MAX = 63
const SUBJECT_CHARS_MAX = 256

/** What the workspace methods need. */
interface WorkspaceServiceDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
}

/** The workspace methods of `openshell.v1.OpenShell`. */
export function workspaceRpcs(deps: WorkspaceServiceDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    changeRpc(method.createWorkspace, 'workspace.create', async ({ name, labels }, note) => {
      note({ workspace: name })
      const workspace: WorkspaceRecord = {
        id: uuid(deps.random),
        name: checkNewName(name),
        labels: checkLabels(labels),
        createdAtMs: deps.clock.nowMs(),
        version: 1,
      }
      await deps.store.createWorkspace(workspace)
      return { workspace: workspaceToWire(workspace) }
    }),
    adminRpc(method.getWorkspace, async ({ name }) => {
      const workspace = await deps.store.getWorkspace(requireName(name))
      if (workspace === null) throw unknown(name)
      return { workspace: workspaceToWire(workspace) }
    }),
    adminRpc(method.listWorkspaces, async request => {
      const labels = parseSelector(request.labelSelector)
      const workspaces = await deps.store.listWorkspaces(labels, checkPage(request))
      return { workspaces: workspaces.map(workspaceToWire) }
    }),
    changeRpc(method.deleteWorkspace, 'workspace.delete', async ({ name }, note) => {
      note({ workspace: name })
      if (requireName(name) === DEFAULT_WORKSPACE) {
        throw new AppError('failed_precondition', 'The default workspace cannot be deleted')
      }
      const remains = await deps.store.deleteWorkspace(name)
      if (remains === null) throw unknown(name)
      refuseOccupied(name, remains)
      return { deleted: true }
    }),
    ...memberRpcs(deps),
  ]
}

/**
 * Who belongs to a workspace. This gateway knows administrators and sandboxes only: members are kept
 * for the command lines that manage them, and get no rights by it.
 */
function memberRpcs(deps: WorkspaceServiceDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    changeRpc(method.addWorkspaceMember, 'workspace_member.add', async (request, note) => {
      note({ workspace: request.workspace, member: request.principalSubject })
      const member: WorkspaceMember = {
        id: uuid(deps.random),
        workspace: checkWorkspace(request.workspace),
        subject: checkSubject(request.principalSubject),
        role: checkRole(request.role),
        createdAtMs: deps.clock.nowMs(),
      }
      await deps.store.addWorkspaceMember(member)
      return { member: memberToWire(member) }
    }),
    changeRpc(method.removeWorkspaceMember, 'workspace_member.remove', async (request, note) => {
      note({ workspace: request.workspace, member: request.principalSubject })
      const workspace = checkWorkspace(request.workspace)
      const subject = checkSubject(request.principalSubject)
      const removed = await deps.store.removeWorkspaceMember(workspace, subject)
      note({ workspace, outcome: removed ? 'done' : 'unchanged' })
      return { removed }
    }),
    adminRpc(method.listWorkspaceMembers, async request => {
      const workspace = checkWorkspace(request.workspace)
      const members = await deps.store.listWorkspaceMembers(workspace, checkPage(request))
      return { members: members.map(memberToWire) }
    }),
  ]
}

function requireName(name: string): string {
  if (name !== '') return name
  throw new AppError('invalid_argument', 'The name of the workspace is missing')
}

/** A new one's name is a DNS label (RFC 1123 §2.1), because it may become part of a host name. */
function checkNewName(name: string): string {
  if (requireName(name).length <= NAME_CHARS_MAX && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name)) {
    return name
  }
  throw new AppError('invalid_argument', `"${name.slice(0, 64)}" is not a workspace name`, {
    hint: `At most ${NAME_CHARS_MAX} small letters, digits and dashes, no dash at either end`,
  })
}

function checkSubject(subject: string): string {
  if (subject !== '' && subject.length <= SUBJECT_CHARS_MAX) return subject
  throw new AppError(
    'invalid_argument',
    `The member is missing, or longer than ${SUBJECT_CHARS_MAX} characters`,
  )
}

function checkRole(role: WorkspaceRole): MemberRole {
  if (role === WorkspaceRole.USER) return 'user'
  if (role === WorkspaceRole.ADMIN) return 'admin'
  throw new AppError('invalid_argument', 'The role is neither user nor admin')
}

function unknown(name: string): AppError {
  return new AppError('not_found', `Workspace "${name}" does not exist`, {
    hint: "See 'openshell workspace list'",
  })
}

function refuseOccupied(name: string, remains: WorkspaceRemains): void {
  const { sandboxes, providers, profiles } = remains
  const kinds = [
    ...(sandboxes > 0 ? [`${sandboxes} sandbox(es)`] : []),
    ...(providers > 0 ? [`${providers} provider(s)`] : []),
    ...(profiles > 0 ? [`${profiles} provider profile(s)`] : []),
  ]
  if (kinds.length === 0) return
  const words = `Workspace "${name}" still contains resources: ${kinds.join(', ')}`
  throw new AppError('failed_precondition', words, { hint: 'Delete them first' })
}

function workspaceToWire(workspace: WorkspaceRecord): Workspace {
  return create(WorkspaceSchema, {
    metadata: {
      id: workspace.id,
      name: workspace.name,
      createdAtMs: BigInt(workspace.createdAtMs),
      labels: Object.fromEntries(workspace.labels),
      resourceVersion: BigInt(workspace.version),
    },
    status: { phase: WorkspacePhase.ACTIVE },
  })
}

function memberToWire(member: WorkspaceMember): WireMember {
  return create(WorkspaceMemberSchema, {
    metadata: {
      id: member.id,
      name: member.subject,
      workspace: member.workspace,
      createdAtMs: BigInt(member.createdAtMs),
      resourceVersion: 1n,
    },
    principalSubject: member.subject,
    role: member.role === 'admin' ? WorkspaceRole.ADMIN : WorkspaceRole.USER,
  })
}
