import type { Command } from 'commander'
import { AppError } from '../core/errors.ts'
import type { ProviderCredentialRefreshStatus } from '../wire/gen/openshell/v1/refresh_pb.ts'
import { type Context, define, defineGroup, flag, outputFlag, outputOf } from './command.ts'
import type { Gateway } from './gateway-call.ts'
import { type OutputFormat, printAnswer } from './output.ts'
import { declareConfigure } from './provider-refresh-configure.ts'
import { describeStatus, formatStatusStory, formatStatusTable } from './refresh-table.ts'
import { watchStatus } from './refresh-watch.ts'
import { printable, printDone, printLine } from './terminal.ts'
import { withGateway } from './with-gateway.ts'

/** A rotation waits for the vendor. */
const ROTATE_TIMEOUT_MS = 60_000

/** `openshell provider refresh`: the life of the tokens. */
export function declareRefresh(group: Command, context: Context): void {
  defineGroup(group, 'See how tokens are refreshed, refresh one now, or stop it.')
  declareStatus(group.command('status [name]'), context)
  declareConfigure(group.command('configure <name>'), context)
  declareRotate(group.command('rotate <name>'), context)
  declareDelete(group.command('delete <name>'), context)
}

function declareStatus(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Show each credential: its state, when it expires, and which routers have it.',
    example: 'openshell provider refresh status --watch',
    flags: [outputFlag(), flag('--watch', 'go on showing it until Ctrl-C')],
    run: async () => {
      const format = outputOf(command)
      const { watch } = command.opts<{ watch?: boolean }>()
      const [name = ''] = command.args
      await withGateway(command, context, async gateway => {
        const read = (signal?: AbortSignal) => readStatus(gateway, name, signal)
        if (watch === true) return watchStatus(terminal, { format: watchable(format), read })
        const statuses = await read()
        await printAnswer(terminal, format, {
          value: statuses.map(describeStatus),
          table: () => {
            for (const line of formatStatusTable(terminal, statuses)) printLine(terminal, line)
            if (name === '') return
            for (const line of statuses.flatMap(one => formatStatusStory(terminal, one))) {
              printLine(terminal, line)
            }
          },
        })
      })
    },
  })
}

function declareRotate(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Refresh a credential now, whether it is due or not.',
    example: 'openshell provider refresh rotate my-vertex',
    flags: [flag('--credential-key <key>', 'which one, if the provider has several')],
    run: async () => {
      const [name = ''] = command.args
      const { credentialKey = '' } = command.opts<{ credentialKey?: string }>()
      const { status } = await withGateway(command, context, gateway =>
        gateway.call(
          gateway.openshell.rotateProviderCredential,
          { provider: name, credentialKey, workspace: gateway.workspace },
          { timeoutMs: ROTATE_TIMEOUT_MS },
        ),
      )
      const key = status?.credentialKey ?? credentialKey
      printDone(
        terminal,
        printable(`Rotation requested for ${name} ${key} (${status?.state || status?.status})`),
      )
    },
  })
}

function declareDelete(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Stop refreshing a credential and serving its token; rotate brings it back.',
    example: 'openshell provider refresh delete my-vertex',
    flags: [flag('--credential-key <key>', 'which one, if the provider has several')],
    run: async () => {
      const [name = ''] = command.args
      const { credentialKey = '' } = command.opts<{ credentialKey?: string }>()
      const { deleted } = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.deleteProviderRefresh, {
          provider: name,
          credentialKey,
          workspace: gateway.workspace,
        }),
      )
      const what = printable(`${name} ${credentialKey}`.trim())
      if (deleted) printDone(terminal, `Deleted refresh config for ${what}`)
      else printLine(terminal, `! No refresh config found for ${what}`)
    },
  })
}

/** YAML has no line that says where one reading ends and the next begins. */
function watchable(format: OutputFormat): 'table' | 'json' {
  if (format !== 'yaml') return format
  throw new AppError('invalid_usage', '--watch writes a table or json, not yaml')
}

async function readStatus(
  gateway: Gateway,
  provider: string,
  signal?: AbortSignal,
): Promise<readonly ProviderCredentialRefreshStatus[]> {
  const { credentials } = await gateway.call(
    gateway.openshell.getProviderRefreshStatus,
    { provider, workspace: gateway.workspace },
    signal === undefined ? {} : { signal },
  )
  return credentials
}
