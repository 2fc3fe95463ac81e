import type { Command } from 'commander'
import { AppError } from '../core/errors.ts'
import type {
  GetInferenceRouteResponse,
  SetInferenceRouteResponse,
} from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { type Context, define, defineGroup, flag, outputFlag, outputOf } from './command.ts'
import type { Gateway } from './gateway-call.ts'
import { printAnswer, printBlock } from './output.ts'
import { printable, printDone, printLine } from './terminal.ts'
import { UsageCheck } from './usage.ts'
import { withGateway } from './with-gateway.ts'

/** The name of the route that agents use. */
export const AGENT_ROUTE = 'inference.local'
const SYSTEM_ROUTE = 'sandbox-system'
/** What 0 stands for on the wire. */
const TIMEOUT_SECONDS_DEFAULT = 60
const TIMEOUT_LIMITS = { minMs: 1_000, maxMs: 3_600_000 }
/** Setting a route waits for the provider's token when there is none yet. */
const SET_TIMEOUT_MS = 60_000

interface RouteOptions {
  readonly provider?: string
  readonly model?: string
  readonly timeout?: string
  readonly system?: boolean
  readonly verify: boolean
}

/** `openshell inference`: what stands behind inference.local. */
export function declareInference(group: Command, context: Context): void {
  defineGroup(group, 'Choose the provider and the model that serve https://inference.local.')
  declareSet(group.command('set'), context)
  declareGet(group.command('get'), context)
  declareUpdate(group.command('update'), context)
  declareDelete(group.command('delete').alias('remove'), context)
}

function declareSet(command: Command, context: Context): void {
  define(command, {
    sentence: 'Set the route that agents use.',
    example: 'openshell inference set --provider my-vertex --model claude-3-7-sonnet',
    flags: routeFlags(),
    run: async () => {
      const options = command.opts<RouteOptions>()
      const check = new UsageCheck()
      const providerName = check.required('--provider', options.provider)
      const modelId = check.required('--model', options.model)
      const timeoutSecs = readTimeout(options.timeout ?? null, check) ?? 0n
      check.finish()
      const route = await withGateway(command, context, gateway =>
        setRoute(gateway, options, { providerName, modelId, timeoutSecs }),
      )
      printConfigured(context, route)
    },
  })
}

function declareUpdate(command: Command, context: Context): void {
  define(command, {
    sentence: 'Change the route that agents use; what is not given stays.',
    example: 'openshell inference update --model gemini-2.5-flash',
    flags: routeFlags(),
    run: async () => {
      const options = command.opts<RouteOptions>()
      const { provider, model, timeout } = options
      const check = new UsageCheck()
      if (provider === undefined && model === undefined && timeout === undefined) {
        check.add('there is nothing to change: give --provider, --model or --timeout')
      }
      const timeoutSecs = readTimeout(timeout ?? null, check)
      check.finish()
      const route = await withGateway(command, context, async gateway => {
        const current = await gateway.call(gateway.inference.getInferenceRoute, {
          routeName: routeName(options),
          workspace: gateway.workspace,
        })
        return setRoute(gateway, options, {
          providerName: provider ?? current.providerName,
          modelId: model ?? current.modelId,
          timeoutSecs: timeoutSecs ?? current.timeoutSecs,
        })
      })
      printConfigured(context, route)
    },
  })
}

function declareGet(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Show the routes that are set.',
    example: 'openshell inference get -o json',
    flags: [flag('--system', 'only the route of the sandbox itself'), outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const { system } = command.opts<RouteOptions>()
      const names = system === true ? [SYSTEM_ROUTE] : [AGENT_ROUTE, SYSTEM_ROUTE]
      const routes = await withGateway(command, context, gateway =>
        Promise.all(names.map(name => findRoute(gateway, name))),
      )
      const found = routes.filter(route => route !== null)
      await printAnswer(terminal, format, {
        value: found.map(describeRoute),
        table: () => {
          if (found.length === 0) printLine(terminal, 'Not configured')
          for (const route of found) {
            const isSystem = route.routeName === SYSTEM_ROUTE
            printBlock(terminal, isSystem ? 'System inference:' : 'Inference:', fieldsOf(route))
          }
        },
      })
    },
  })
}

function declareDelete(command: Command, context: Context): void {
  define(command, {
    sentence: 'Take the route away; agents are told that there is none.',
    example: 'openshell inference delete',
    flags: [flag('--system', 'the route of the sandbox itself')],
    run: async () => {
      const route = routeName(command.opts<RouteOptions>())
      const { deleted } = await withGateway(command, context, gateway =>
        gateway.call(gateway.inference.deleteInferenceRoute, {
          routeName: route,
          workspace: gateway.workspace,
        }),
      )
      if (deleted) printDone(context.terminal, 'Inference route deleted.')
      else printLine(context.terminal, 'Inference route was already deleted.')
    },
  })
}

function routeFlags() {
  return [
    flag('--provider <name>', 'a provider of the workspace'),
    flag('--model <id>', "the model, as the provider's vendor names it"),
    flag('--timeout <span>', 'limit for the first byte of an answer (default: 60s)'),
    flag('--system', 'the route of the sandbox itself, not of the agent'),
    flag('--no-verify', 'set it even if the provider has no valid token'),
  ]
}

function routeName(options: { readonly system?: boolean }): string {
  return options.system === true ? SYSTEM_ROUTE : AGENT_ROUTE
}

/** Whole seconds, because the wire has no shorter unit; null when the flag was not given. */
function readTimeout(text: string | null, check: UsageCheck): bigint | null {
  if (text === null) return null
  const timeoutMs = check.durationMs('--timeout', text, TIMEOUT_LIMITS)
  if (timeoutMs % 1_000 !== 0) check.add(`--timeout takes whole seconds, not "${text}"`)
  return BigInt(Math.floor(timeoutMs / 1_000))
}

function setRoute(
  gateway: Gateway,
  options: RouteOptions,
  route: {
    readonly providerName: string
    readonly modelId: string
    readonly timeoutSecs: bigint
  },
): Promise<SetInferenceRouteResponse> {
  return gateway.call(
    gateway.inference.setInferenceRoute,
    {
      ...route,
      routeName: routeName(options),
      noVerify: !options.verify,
      workspace: gateway.workspace,
    },
    { timeoutMs: SET_TIMEOUT_MS },
  )
}

/** A route of the gateway's workspace; null when it is not set. */
export async function findRoute(
  gateway: Gateway,
  name: string,
): Promise<GetInferenceRouteResponse | null> {
  try {
    return await gateway.call(gateway.inference.getInferenceRoute, {
      routeName: name,
      workspace: gateway.workspace,
    })
  } catch (error) {
    if (error instanceof AppError && error.code === 'not_found') return null
    throw error
  }
}

type Route = SetInferenceRouteResponse | GetInferenceRouteResponse

function printConfigured(context: Context, route: SetInferenceRouteResponse): void {
  const { terminal } = context
  const isSystem = route.routeName === SYSTEM_ROUTE
  const title = isSystem ? 'System inference configured:' : 'Inference configured:'
  printBlock(terminal, title, fieldsOf(route))
  if (route.validatedEndpoints.length > 0) {
    printLine(terminal, '  Validated Endpoints:')
    for (const { url, protocol } of route.validatedEndpoints) {
      printLine(terminal, printable(`    - ${url} (${protocol})`))
    }
  }
  if (!isSystem) {
    printLine(terminal, '\nAgents reach it at https://inference.local with any placeholder key:')
    printLine(terminal, '  openshell sandbox run -- claude')
  }
}

function fieldsOf(route: Route): readonly (readonly [string, string])[] {
  const isDefault = route.timeoutSecs === 0n
  const seconds = isDefault ? TIMEOUT_SECONDS_DEFAULT : Number(route.timeoutSecs)
  return [
    ['Workspace', route.workspace],
    ['Route', route.routeName],
    ['Provider', route.providerName],
    ['Model', route.modelId],
    ['Version', String(route.version)],
    ['Timeout', isDefault ? `${seconds}s (default)` : `${seconds}s`],
  ]
}

function describeRoute(route: Route): Readonly<Record<string, unknown>> {
  return {
    workspace: route.workspace,
    route: route.routeName,
    provider: route.providerName,
    model: route.modelId,
    version: Number(route.version),
    timeout_seconds: Number(route.timeoutSecs) || TIMEOUT_SECONDS_DEFAULT,
  }
}
