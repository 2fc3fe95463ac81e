import type { Command } from 'commander'
import type { Sandbox } from '../wire/gen/openshell/v1/sandbox_pb.ts'
import { type Context, define, defineGroup, outputFlag, outputOf, repeatedFlag } from './command.ts'
import { EXIT } from './exit.ts'
import type { Gateway } from './gateway-call.ts'
import { labelFlag, readLabels } from './label-flag.ts'
import { formatTable, printAnswer } from './output.ts'
import { declareSandboxProvider } from './sandbox-provider.ts'
import { declareRun, declareServe } from './sandbox-run.ts'
import { noteLine, paint, printDone, printLine } from './terminal.ts'
import { formatInstant } from './time.ts'
import { UsageCheck } from './usage.ts'
import { withGateway } from './with-gateway.ts'

const PAGE_SIZE = 500

interface CreateOptions {
  readonly provider?: readonly string[]
  readonly label?: readonly string[]
}

/** `openshell sandbox`: who may fetch a route, and the router that does. */
export function declareSandbox(group: Command, context: Context): void {
  defineGroup(group, 'Run an agent beside a router, and register routers that run elsewhere.')
  declareRun(group.command('run <command...>'), context)
  declareServe(group.command('serve'), context)
  declareCreate(group.command('create <name>'), context)
  declareList(group.command('list'), context)
  declareToken(group.command('token <name>'), context)
  declareDelete(group.command('delete <names...>'), context)
  declareSandboxProvider(group.command('provider'), context)
}

function declareCreate(command: Command, context: Context): void {
  define(command, {
    sentence: 'Register a sandbox, whose router may then fetch the routes of the workspace.',
    example: 'openshell sandbox create ci',
    flags: [repeatedFlag('--provider <name>', 'a provider to attach to it'), labelFlag()],
    run: async () => {
      const [name = ''] = command.args
      const { provider, label } = command.opts<CreateOptions>()
      const check = new UsageCheck()
      const labels = readLabels(label, check)
      check.finish()
      const spec = { providers: [...(provider ?? [])] }
      await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.createSandbox, {
          ...{ name, labels, spec, workspace: gateway.workspace },
        }),
      )
      printDone(context.terminal, `Created sandbox ${name}`)
    },
  })
}

function declareList(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'List the sandboxes of the workspace.',
    example: 'openshell sandbox list -o json',
    flags: [outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const sandboxes = await withGateway(command, context, listSandboxes)
      await printAnswer(terminal, format, {
        value: sandboxes.map(describeSandbox),
        table: () => {
          if (sandboxes.length === 0) return printLine(terminal, 'No sandboxes found.')
          const rows = sandboxes.map(({ metadata }) => [
            metadata?.name ?? '',
            metadata?.id ?? '',
            formatInstant(terminal, Number(metadata?.createdAtMs ?? 0n)),
          ])
          for (const line of formatTable(['NAME', 'ID', 'CREATED'], rows)) printLine(terminal, line)
        },
      })
    },
  })
}

function declareToken(command: Command, context: Context): void {
  define(command, {
    sentence: 'Print a token for the router of a sandbox, and nothing else.',
    example: 'openshell sandbox token ci > sandbox.token',
    flags: [],
    run: async () => {
      const [sandboxName = ''] = command.args
      const { token } = await withGateway(command, context, gateway =>
        gateway.call(gateway.delivery.createSandboxToken, {
          sandboxName,
          workspace: gateway.workspace,
        }),
      )
      printLine(context.terminal, token)
    },
  })
}

function declareDelete(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Delete sandboxes; their tokens are refused from then on.',
    example: 'openshell sandbox delete ci',
    flags: [],
    run: () =>
      withGateway(command, context, async gateway => {
        for (const name of command.args) {
          const { deleted } = await gateway.call(gateway.openshell.deleteSandbox, {
            name,
            workspace: gateway.workspace,
          })
          if (deleted) {
            printDone(terminal, `Deleted sandbox ${name}`)
          } else {
            noteLine(terminal, `${paint(terminal.err, 'yellow', '!')} Sandbox ${name} not found`)
            context.exitWith(EXIT.failed)
          }
        }
      }),
  })
}

async function listSandboxes(gateway: Gateway): Promise<readonly Sandbox[]> {
  const sandboxes: Sandbox[] = []
  for (;;) {
    const page = await gateway.call(gateway.openshell.listSandboxes, {
      limit: PAGE_SIZE,
      offset: sandboxes.length,
      workspace: gateway.workspace,
    })
    sandboxes.push(...page.sandboxes)
    if (page.sandboxes.length < PAGE_SIZE) return sandboxes
  }
}

function describeSandbox({ metadata }: Sandbox): Readonly<Record<string, unknown>> {
  return {
    id: metadata?.id ?? '',
    name: metadata?.name ?? '',
    workspace: metadata?.workspace ?? '',
    created_at: new Date(Number(metadata?.createdAtMs ?? 0n)).toISOString(),
  }
}
