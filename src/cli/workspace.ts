import type { Command } from 'commander'
import type { Workspace } from '../wire/gen/openshell/datamodel/v1/datamodel_pb.ts'
import { type Context, define, defineGroup, outputFlag, outputOf } from './command.ts'
import type { Gateway } from './gateway-call.ts'
import { labelFlag, readLabels } from './label-flag.ts'
import { formatTable, printAnswer, printBlock } from './output.ts'
import { printDone, printLine } from './terminal.ts'
import { formatInstant } from './time.ts'
import { UsageCheck } from './usage.ts'
import { withGateway } from './with-gateway.ts'
import { declareMember } from './workspace-member.ts'

const PAGE_SIZE = 500

/** `openshell workspace`: rooms for providers, routes and sandboxes. */
export function declareWorkspace(group: Command, context: Context): void {
  defineGroup(group, 'Keep providers, routes and sandboxes of several teams apart.')
  declareCreate(group.command('create <name>'), context)
  declareGet(group.command('get <name>'), context)
  declareList(group.command('list'), context)
  declareDelete(group.command('delete <names...>'), context)
  declareMember(group.command('member'), context)
}

function declareCreate(command: Command, context: Context): void {
  define(command, {
    sentence: 'Make a workspace.',
    example: 'openshell workspace create research --label team=a',
    flags: [labelFlag()],
    run: async () => {
      const [name = ''] = command.args
      const check = new UsageCheck()
      const { label } = command.opts<{ readonly label?: readonly string[] }>()
      const labels = readLabels(label, check)
      check.finish()
      await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.createWorkspace, { name, labels }),
      )
      printDone(context.terminal, `Created workspace ${name}`)
    },
  })
}

function declareGet(command: Command, context: Context): void {
  define(command, {
    sentence: 'Show a workspace.',
    example: 'openshell workspace get research -o json',
    flags: [outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const [name = ''] = command.args
      const { workspace } = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.getWorkspace, { name }),
      )
      const described = describe(workspace)
      await printAnswer(context.terminal, format, {
        value: described,
        table: () =>
          printBlock(context.terminal, 'Workspace:', [
            ['Id', described.id],
            ['Name', described.name],
            ['Labels', labelsText(described.labels)],
            ['Resource version', String(described.resource_version)],
          ]),
      })
    },
  })
}

function declareList(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'List the workspaces.',
    example: 'openshell workspace list -o json',
    flags: [outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const workspaces = await withGateway(command, context, listWorkspaces)
      await printAnswer(terminal, format, {
        value: workspaces.map(describe),
        table: () => {
          const rows = workspaces.map(({ metadata }) => [
            metadata?.name ?? '',
            labelsText(metadata?.labels ?? {}),
            // The one that is as old as the store tells no time.
            metadata?.createdAtMs ? formatInstant(terminal, Number(metadata.createdAtMs)) : '-',
          ])
          for (const line of formatTable(['NAME', 'LABELS', 'CREATED'], rows))
            printLine(terminal, line)
        },
      })
    },
  })
}

function declareDelete(command: Command, context: Context): void {
  define(command, {
    sentence: 'Delete empty workspaces.',
    example: 'openshell workspace delete research',
    flags: [],
    run: () =>
      withGateway(command, context, async gateway => {
        for (const name of command.args) {
          await gateway.call(gateway.openshell.deleteWorkspace, { name })
          printDone(context.terminal, `Deleted workspace ${name}`)
        }
      }),
  })
}

async function listWorkspaces(gateway: Gateway): Promise<readonly Workspace[]> {
  const all: Workspace[] = []
  for (;;) {
    const { workspaces } = await gateway.call(gateway.openshell.listWorkspaces, {
      limit: PAGE_SIZE,
      offset: all.length,
    })
    all.push(...workspaces)
    if (workspaces.length < PAGE_SIZE) return all
  }
}

function describe(workspace: Workspace | undefined) {
  const metadata = workspace?.metadata
  return {
    id: metadata?.id ?? '',
    name: metadata?.name ?? '',
    labels: metadata?.labels ?? {},
    resource_version: Number(metadata?.resourceVersion ?? 0n),
    created_at: new Date(Number(metadata?.createdAtMs ?? 0n)).toISOString(),
  }
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`)
  return pairs.length === 0 ? '<none>' : pairs.sort().join(',')
}
