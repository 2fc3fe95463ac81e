import type { Command } from 'commander'
import { type Context, define, defineGroup, flag } from './command.ts'
import { EXIT } from './exit.ts'
import { formatTable } from './output.ts'
import { noteLine, paint, printDone, printLine } from './terminal.ts'
import { UsageCheck } from './usage.ts'
import { withGateway } from './with-gateway.ts'

const LIST_MAX = 1_000

/** `WorkspaceRole` on the wire. */
const ROLES = { user: 1, admin: 2 } as const
const ROLE_NAMES = ['unspecified', 'user', 'admin']

/** `openshell workspace member`: who belongs to the workspace that `--workspace` names. */
export function declareMember(group: Command, context: Context): void {
  defineGroup(group, 'Keep the list of those who belong to a workspace.')
  declareAdd(group.command('add <subject>'), context)
  declareRemove(group.command('remove <subject>'), context)
  declareList(group.command('list'), context)
}

function declareAdd(command: Command, context: Context): void {
  define(command, {
    sentence: 'Add somebody to the workspace.',
    example: 'openshell workspace member add ann@example.com --role admin --workspace research',
    flags: [flag('--role <role>', 'user or admin (default: user)').default('user')],
    run: async () => {
      const [principalSubject = ''] = command.args
      const check = new UsageCheck()
      const { role } = command.opts<{ readonly role: string }>()
      const chosen = check.oneOf('--role', role, ['user', 'admin'])
      check.finish()
      await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.addWorkspaceMember, {
          ...{ workspace: gateway.workspace, principalSubject },
          role: ROLES[chosen],
        }),
      )
      printDone(context.terminal, `Added ${principalSubject} as ${chosen}`)
    },
  })
}

function declareRemove(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Remove somebody from the workspace.',
    example: 'openshell workspace member remove ann@example.com --workspace research',
    flags: [],
    run: async () => {
      const [principalSubject = ''] = command.args
      const { removed } = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.removeWorkspaceMember, {
          ...{ workspace: gateway.workspace, principalSubject },
        }),
      )
      if (removed) return printDone(terminal, `Removed ${principalSubject}`)
      noteLine(terminal, `${paint(terminal.err, 'yellow', '!')} ${principalSubject} is no member`)
      context.exitWith(EXIT.failed)
    },
  })
}

function declareList(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'List the members of the workspace.',
    example: 'openshell workspace member list --workspace research',
    flags: [],
    run: async () => {
      const { members } = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.listWorkspaceMembers, {
          ...{ workspace: gateway.workspace, limit: LIST_MAX },
        }),
      )
      if (members.length === 0) return printLine(terminal, 'No members found.')
      const rows = members.map(one => [one.principalSubject, ROLE_NAMES[one.role] ?? 'unknown'])
      for (const line of formatTable(['SUBJECT', 'ROLE'], rows)) printLine(terminal, line)
    },
  })
}
