import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Log } from '../system/log.ts'
import { callUnary, type GatewayChannel, reachGateway } from '../wire/client.ts'
import { Delivery } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const CALL_TIMEOUT_MS = 5_000
/** At the end a person waits for the prompt. */
const FAREWELL_TIMEOUT_MS = 2_000
const PROFILES_MAX = 1_000

/** A sandbox as the gateway knows it, and what its router needs from there. */
export interface Registration {
  readonly token: Secret
  /** Names of environment variables that hold credentials of the gateway's provider types. */
  readonly credentialNames: readonly string[]
  /** Deletes the sandbox when it was made for this run; never rejects. */
  remove(): Promise<void>
}

/** Which sandbox to register. */
export interface RegistrationOptions {
  readonly name: string
  readonly workspace: string
  /** Whether the sandbox ends with this run. */
  readonly isTemporary: boolean
  readonly log: Log
  readonly signal: AbortSignal
}

/**
 * Makes the sandbox known to the gateway, if it is not yet, and asks for a token of its router.
 *
 * @throws AppError what the gateway said; `gateway_unreachable` when it said nothing.
 */
export async function registerSandbox(
  channel: GatewayChannel,
  options: RegistrationOptions,
): Promise<Registration> {
  const { workspace, name, signal } = options
  const call = { timeoutMs: CALL_TIMEOUT_MS, signal }
  await reachGateway(channel, { timeoutMs: FAREWELL_TIMEOUT_MS })
  const [profiles] = await Promise.all([
    callUnary(
      channel,
      OpenShell.method.listProviderProfiles,
      { limit: PROFILES_MAX, workspace },
      call,
    ),
    createUnlessThere(channel, options),
  ])
  const { token } = await callUnary(
    channel,
    Delivery.method.createSandboxToken,
    { sandboxName: name, workspace },
    call,
  )
  const credentials = profiles.profiles.flatMap(profile => profile.credentials)
  return {
    token: new Secret(token),
    credentialNames: [...new Set(credentials.flatMap(credential => credential.envVars))],
    remove: () => (options.isTemporary ? removeSandbox(channel, options) : Promise.resolve()),
  }
}

async function createUnlessThere(
  channel: GatewayChannel,
  { name, workspace, isTemporary, signal }: RegistrationOptions,
): Promise<void> {
  const call = { timeoutMs: CALL_TIMEOUT_MS, signal }
  try {
    await callUnary(channel, OpenShell.method.createSandbox, { name, workspace }, call)
  } catch (error) {
    const isThere = error instanceof AppError && error.code === 'already_exists'
    if (!isThere || isTemporary) throw error
  }
}

async function removeSandbox(
  channel: GatewayChannel,
  { name, workspace, log }: RegistrationOptions,
): Promise<void> {
  try {
    const call = { timeoutMs: FAREWELL_TIMEOUT_MS }
    await reachGateway(channel, call)
    await callUnary(channel, OpenShell.method.deleteSandbox, { name, workspace }, call)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    log.warn('sandbox.left', { sandbox: name, code: error.code, message: error.message })
  }
}
