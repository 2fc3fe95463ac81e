import type { Command } from 'commander'
import type { Provider } from '../wire/gen/openshell/datamodel/v1/datamodel_pb.ts'
import { type Context, define, defineGroup, outputFlag, outputOf } from './command.ts'
import { EXIT } from './exit.ts'
import type { Gateway } from './gateway-call.ts'
import { formatTable, printAnswer, printBlock } from './output.ts'
import { declareAdd, declareUpdate } from './provider-add.ts'
import { declareDoctor } from './provider-doctor.ts'
import { declareProfile } from './provider-profile.ts'
import { declareProfiles } from './provider-profiles.ts'
import { declareRefresh } from './provider-refresh.ts'
import { noteLine, paint, printDone, printLine } from './terminal.ts'
import { withGateway } from './with-gateway.ts'

/** The gateway answers at most this many providers at once, well below its message limit. */
const PAGE_SIZE = 200

/** `openshell provider`: the vendors' credentials that the gateway keeps. */
export function declareProvider(group: Command, context: Context): void {
  defineGroup(group, 'Keep vendor credentials in the gateway and see their tokens turn over.')
  declareAdd(group.command('add').alias('create'), context)
  declareList(group.command('list'), context)
  declareGet(group.command('get <name>'), context)
  declareUpdate(group.command('update <name>'), context)
  declareDelete(group.command('delete <names...>'), context)
  declareDoctor(group.command('doctor <name>'), context)
  declareProfiles(group.command('list-profiles [type]'), context)
  declareProfile(group.command('profile'), context)
  declareRefresh(group.command('refresh'), context)
}

/** The names of the workspace's providers, in order. */
export async function listProviders(gateway: Gateway): Promise<readonly Provider[]> {
  const providers: Provider[] = []
  for (;;) {
    const page = await gateway.call(gateway.openshell.listProviders, {
      limit: PAGE_SIZE,
      offset: providers.length,
      workspace: gateway.workspace,
    })
    providers.push(...page.providers)
    if (page.providers.length < PAGE_SIZE) return providers
  }
}

function declareList(command: Command, context: Context): void {
  define(command, {
    sentence: 'List the providers of the workspace.',
    example: 'openshell provider list -o json',
    flags: [outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const providers = await withGateway(command, context, listProviders)
      await printAnswer(context.terminal, format, {
        value: providers.map(describeProvider),
        table: () => printProviders(context, providers),
      })
    },
  })
}

function declareGet(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Show a provider; its secrets stay in the gateway.',
    example: 'openshell provider get my-vertex',
    flags: [outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const [name = ''] = command.args
      const { provider } = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.getProvider, { name, workspace: gateway.workspace }),
      )
      if (provider === undefined) throw new TypeError('The gateway answered without a provider')
      await printAnswer(terminal, format, {
        value: { ...describeProvider(provider), config: provider.config },
        table: () =>
          printBlock(terminal, 'Provider:', [
            ['Id', provider.metadata?.id ?? ''],
            ['Name', provider.metadata?.name ?? ''],
            ['Type', provider.type],
            ['Resource version', String(provider.metadata?.resourceVersion ?? 0)],
            ['Credential keys', namesOf(provider.credentials)],
            ['Config keys', namesOf(provider.config)],
          ]),
      })
    },
  })
}

function declareDelete(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Delete providers with their credentials and tokens.',
    example: 'openshell provider delete my-vertex',
    flags: [],
    run: () =>
      withGateway(command, context, async gateway => {
        for (const name of command.args) {
          const { deleted } = await gateway.call(gateway.openshell.deleteProvider, {
            name,
            workspace: gateway.workspace,
          })
          if (deleted) {
            printDone(terminal, `Deleted provider ${name}`)
          } else {
            noteLine(terminal, `${paint(terminal.err, 'yellow', '!')} Provider ${name} not found`)
            context.exitWith(EXIT.failed)
          }
        }
      }),
  })
}

function printProviders(context: Context, providers: readonly Provider[]): void {
  const { terminal } = context
  if (providers.length === 0) {
    printLine(terminal, 'No providers found.')
    return
  }
  const rows = providers.map(provider => [
    provider.metadata?.name ?? '',
    provider.type,
    String(Object.keys(provider.credentials).length),
    String(Object.keys(provider.config).length),
  ])
  const headings = ['NAME', 'TYPE', 'CREDENTIAL_KEYS', 'CONFIG_KEYS']
  for (const line of formatTable(headings, rows)) printLine(terminal, line)
}

/** A provider as other programs read it, with the keys that OpenShell's own command line has. */
function describeProvider(provider: Provider): Readonly<Record<string, unknown>> {
  const { metadata } = provider
  const configKeys = Object.keys(provider.config)
  const expiries = Object.entries(provider.credentialExpiresAtMs)
  const createdAtMs = Number(metadata?.createdAtMs ?? 0n)
  return {
    id: metadata?.id ?? '',
    name: metadata?.name ?? '',
    workspace: metadata?.workspace ?? '',
    type: provider.type,
    credential_keys: Object.keys(provider.credentials).sort(),
    ...(configKeys.length === 0 ? {} : { config_keys: configKeys }),
    ...(Object.keys(metadata?.labels ?? {}).length === 0 ? {} : { labels: metadata?.labels }),
    resource_version: Number(metadata?.resourceVersion ?? 0n),
    ...(createdAtMs === 0 ? {} : { created_at: utcText(createdAtMs) }),
    ...(expiries.length === 0
      ? {}
      : {
          credential_expires_at_ms: Object.fromEntries(
            expiries.map(([key, atMs]) => [key, Number(atMs)]),
          ),
        }),
  }
}

function namesOf(map: Readonly<Record<string, string>>): string {
  return Object.keys(map).sort().join(', ') || '<none>'
}

/** `YYYY-MM-DD HH:MM:SS` in UTC. */
function utcText(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')
}
