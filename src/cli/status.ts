import type { Command } from 'commander'
import { AppError } from '../core/errors.ts'
import { type Context, define, outputFlag, outputOf } from './command.ts'
import { EXIT } from './exit.ts'
import type { Gateway } from './gateway-call.ts'
import { printAnswer, printBlock } from './output.ts'
import { withGateway } from './with-gateway.ts'

const SERVICE_STATES = ['unknown', 'healthy', 'degraded', 'unhealthy']

/** What `openshell status` found. */
interface Finding {
  /** Gateways have no names here; OpenShell's own command line prints one, so this is its host. */
  readonly gateway: string
  readonly server: string
  readonly status: 'connected' | 'disconnected'
  readonly health: string | null
  readonly authentication: { readonly status: string; readonly subject: string | null }
  readonly version: string | null
  readonly error: string | null
}

/** `openshell status`: whether the gateway can be reached, and as whom. */
export function declareStatus(command: Command, context: Context): void {
  define(command, {
    sentence: 'Say whether the gateway can be reached, how it is, and as whom it is talked to.',
    example: 'openshell status',
    flags: [outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const { finding, failure } = await withGateway(command, context, examine)
      // A program that asked for JSON gets it for a gateway that is away, too.
      if (failure === null || format !== 'table') {
        await printAnswer(context.terminal, format, {
          value: finding,
          table: () => {
            const { authentication } = finding
            const subject = authentication.subject === null ? '' : ` as ${authentication.subject}`
            printBlock(context.terminal, 'Server Status', [
              ['Gateway', finding.gateway],
              ['Server', finding.server],
              ['Status', `${finding.status} (${finding.health})`],
              ['Authentication', `${authentication.status}${subject}`],
              ['Version', finding.version ?? ''],
            ])
          },
        })
      }
      if (failure !== null) throw failure
      if (finding.authentication.status !== 'authenticated') context.exitWith(EXIT.denied)
    },
  })
}

async function examine(
  gateway: Gateway,
): Promise<{ readonly finding: Finding; readonly failure: AppError | null }> {
  const { host, origin: server } = gateway.settings.endpoint
  try {
    const health = await gateway.call(gateway.openshell.health, {})
    const finding: Finding = {
      gateway: host,
      server,
      status: 'connected',
      health: SERVICE_STATES[health.status] ?? 'unknown',
      authentication: await whoAmI(gateway),
      version: health.version,
      error: null,
    }
    return { finding, failure: null }
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const finding: Finding = {
      gateway: host,
      server,
      status: 'disconnected',
      health: null,
      authentication: { status: 'unknown', subject: null },
      version: null,
      error: error.message,
    }
    return { finding, failure: error }
  }
}

async function whoAmI(gateway: Gateway): Promise<Finding['authentication']> {
  try {
    const user = await gateway.call(gateway.openshell.getCurrentUser, {})
    return { status: 'authenticated', subject: user.subject }
  } catch (error) {
    const isRefused =
      error instanceof AppError &&
      (error.code === 'unauthenticated' || error.code === 'permission_denied')
    if (!isRefused) throw error
    return { status: error.code, subject: null }
  }
}
