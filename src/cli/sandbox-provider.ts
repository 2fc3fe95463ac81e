import type { Command } from 'commander'
import { type Context, define, defineGroup, outputFlag, outputOf } from './command.ts'
import type { Gateway } from './gateway-call.ts'
import { formatTable, printAnswer } from './output.ts'
import { printDone, printLine } from './terminal.ts'
import { withGateway } from './with-gateway.ts'

/** `openshell sandbox provider`: the providers whose credentials a sandbox's supervisor is given. */
export function declareSandboxProvider(group: Command, context: Context): void {
  defineGroup(group, 'Attach providers to a sandbox of OpenShell, for its supervisor.')
  declareList(group.command('list <sandbox>'), context)
  declareAttach(group.command('attach <sandbox> <provider>'), context)
  declareDetach(group.command('detach <sandbox> <provider>'), context)
}

function declareList(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'List the providers attached to a sandbox.',
    example: 'openshell sandbox provider list ci',
    flags: [outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const [sandboxName = ''] = command.args
      const { providers } = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.listSandboxProviders, {
          ...{ sandboxName, workspace: gateway.workspace },
        }),
      )
      const rows = providers.map(({ metadata, type }) => [metadata?.name ?? '', type] as const)
      await printAnswer(terminal, format, {
        value: rows.map(([name, type]) => ({ name, type })),
        table: () => {
          if (rows.length === 0) return printLine(terminal, 'No providers attached.')
          for (const line of formatTable(['NAME', 'TYPE'], rows)) printLine(terminal, line)
        },
      })
    },
  })
}

function declareAttach(command: Command, context: Context): void {
  define(command, {
    sentence: 'Attach a provider to a sandbox.',
    example: 'openshell sandbox provider attach ci my-vertex',
    flags: [],
    run: async () => {
      const [sandbox = '', provider = ''] = command.args
      const { attached } = await withGateway(command, context, async gateway =>
        gateway.call(
          gateway.openshell.attachSandboxProvider,
          await change(gateway, sandbox, provider),
        ),
      )
      if (attached) printDone(context.terminal, `Attached provider ${provider} to ${sandbox}`)
      else printLine(context.terminal, `Provider ${provider} is attached to ${sandbox} already.`)
    },
  })
}

function declareDetach(command: Command, context: Context): void {
  define(command, {
    sentence: 'Detach a provider from a sandbox.',
    example: 'openshell sandbox provider detach ci my-vertex',
    flags: [],
    run: async () => {
      const [sandbox = '', provider = ''] = command.args
      const { detached } = await withGateway(command, context, async gateway =>
        gateway.call(
          gateway.openshell.detachSandboxProvider,
          await change(gateway, sandbox, provider),
        ),
      )
      if (detached) printDone(context.terminal, `Detached provider ${provider} from ${sandbox}`)
      else printLine(context.terminal, `Provider ${provider} is not attached to ${sandbox}.`)
    },
  })
}

/** A change of the sandbox as it is now: what someone else does meanwhile is not overwritten. */
async function change(gateway: Gateway, sandboxName: string, providerName: string) {
  const { workspace } = gateway
  const get = { name: sandboxName, workspace }
  const { sandbox } = await gateway.call(gateway.openshell.getSandbox, get)
  const expectedResourceVersion = sandbox?.metadata?.resourceVersion ?? 0n
  return { sandboxName, providerName, workspace, expectedResourceVersion }
}
