import { create } from '@bufbuild/protobuf'
import { AppError } from '../core/errors.ts'
import { plainLine } from '../core/plain-line.ts'
import type { FullSandbox } from '../core/sandbox.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { PolicyStatus } from '../wire/gen/openshell/v1/config_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import {
  type GetSandboxProviderEnvironmentResponse,
  GetSandboxProviderEnvironmentResponseSchema,
} from '../wire/gen/openshell/v1/supervisor_pb.ts'
import { credentialHandle } from './credential-handle.ts'
import type { Identity } from './identity.ts'
import {
  type EnvironmentCredential,
  type EnvironmentDeps,
  type ProviderEnvironment,
  providerEnvironment,
} from './provider-environment.ts'
import { type Rpc, sandboxRpc } from './rpc.ts'
import { changeSandbox } from './sandbox-change.ts'
import { effectiveConfig } from './sandbox-config.ts'

/** A renewed token lives a day: it outlasts an outage of the gateway, and little else. */
const TOKEN_MS = 86_400_000

const REASON_CHARS_MAX = 500

/** What the supervisor methods need. */
export interface SupervisorDeps extends EnvironmentDeps {
  readonly random: Random
  readonly log: Log
  readonly identity: Identity
}

/** The methods of `openshell.v1.OpenShell` that a sandbox's supervisor calls, its streams apart. */
export function supervisorRpcs(deps: SupervisorDeps): readonly Rpc[] {
  const { method } = OpenShell
  const { store } = deps
  return [
    ...tokenRpcs(deps),
    sandboxRpc(method.getSandboxConfig, async (_request, { id }) => {
      const sandbox = await requireFull(deps, id)
      const { revision } = await providerEnvironment(deps, sandbox)
      return { ...(await effectiveConfig(store, sandbox)), providerEnvRevision: revision }
    }),
    sandboxRpc(method.getSandboxProviderEnvironment, async (_request, { id }) => {
      const sandbox = await requireFull(deps, id)
      return environmentToWire(sandbox, await providerEnvironment(deps, sandbox))
    }),
    sandboxRpc(method.reportPolicyStatus, async ({ version, status, loadError }, { id, name }) => {
      if (status === PolicyStatus.FAILED) {
        const reason = plainLine(loadError, REASON_CHARS_MAX)
        deps.log.warn('policy.failed', { sandbox: name, version, reason })
      }
      if (status !== PolicyStatus.LOADED) return {}
      await changeSandbox({ store, expectedVersion: 0n }, id, standing =>
        standing.loadedPolicyVersion === version
          ? standing
          : { ...standing, loadedPolicyVersion: version },
      )
      return {}
    }),
    sandboxRpc(method.reportMainProcessExit, async ({ instanceId, exitCode }, { id, name }) => {
      await changeSandbox({ store, expectedVersion: 0n }, id, standing =>
        standing.mainProcessId === instanceId && standing.exitCode === exitCode
          ? standing
          : { ...standing, mainProcessId: instanceId, exitCode },
      )
      deps.log.info('sandbox.exited', { sandbox: name, exitCode })
      return {}
    }),
    sandboxRpc(method.submitPolicyAnalysis, async ({ proposedChunks }) => ({
      rejectedChunks: proposedChunks.length,
      rejectionReasons: proposedChunks.map(() => 'This gateway keeps no proposals for policies'),
    })),
  ]
}

function tokenRpcs(deps: SupervisorDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    sandboxRpc(method.issueSandboxToken, async () => {
      // It is for those whom a platform vouches for, and this gateway trusts no platform's word.
      throw new AppError('permission_denied', 'A sandbox with a token renews it', {
        hint: 'Call RefreshSandboxToken',
      })
    }),
    sandboxRpc(method.refreshSandboxToken, async ({ extensionServiceNames }, sandbox) => {
      const [service] = extensionServiceNames
      if (service !== undefined) {
        throw new AppError(
          'permission_denied',
          `Extension service "${service.slice(0, 64)}" is not part of the policy of this sandbox`,
        )
      }
      const expiresAtMs = deps.clock.nowMs() + TOKEN_MS
      const token = await deps.identity.issueSandboxToken(sandbox, expiresAtMs)
      return { token: token.reveal(), expiresAtMs: BigInt(expiresAtMs) }
    }),
  ]
}

/** A sandbox may be deleted between its authentication and this. */
async function requireFull(
  { store }: Pick<SupervisorDeps, 'store'>,
  id: string,
): Promise<FullSandbox> {
  const sandbox = await store.getFullSandbox(id)
  if (sandbox !== null) return sandbox
  throw new AppError('not_found', 'The sandbox of this token was deleted')
}

function environmentToWire(
  sandbox: FullSandbox,
  { credentials, config, revision }: ProviderEnvironment,
): GetSandboxProviderEnvironmentResponse {
  const byKey = <T>(value: (credential: EnvironmentCredential) => T): Record<string, T> =>
    Object.fromEntries(credentials.map(one => [one.key, value(one)]))
  return create(GetSandboxProviderEnvironmentResponseSchema, {
    environment: { ...Object.fromEntries(config), ...byKey(one => one.value.reveal()) },
    providerEnvRevision: revision,
    credentialExpiresAtMs: Object.fromEntries(
      credentials.flatMap(({ key, expiresAtMs }) =>
        expiresAtMs === null ? [] : [[key, BigInt(Math.floor(expiresAtMs))]],
      ),
    ),
    // Without a place that it belongs to, a supervisor takes a credential for unusable.
    staticCredentialBindings: byKey(({ key, providerId, destinations }) => ({
      endpoints: destinations.map(one => ({ ...one, path: '/**' })),
      credentialIdentity: `${providerId}:${key}`,
      workloadCredentialHandle: credentialHandle({ sandboxId: sandbox.id, providerId, key }),
    })),
    nonSecretEnvironmentKeys: [...config.keys()],
  })
}
