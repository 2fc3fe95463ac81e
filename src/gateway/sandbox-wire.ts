import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { AppError } from '../core/errors.ts'
import type { FullSandbox, Policy } from '../core/sandbox.ts'
import {
  type SandboxPolicy,
  SandboxPolicySchema,
} from '../wire/gen/openshell/sandbox/v1/sandbox_pb.ts'
import {
  type Sandbox,
  SandboxPhase,
  SandboxSchema,
  type SandboxSpec,
  SandboxSpecSchema,
} from '../wire/gen/openshell/v1/sandbox_pb.ts'

const SPEC_BYTES_MAX = 262_144
const VARIABLES_MAX = 256

/** A sandbox as the wire has it, its whole spec put together again. */
export function sandboxToWire(sandbox: FullSandbox): Sandbox {
  const spec = fromBinary(SandboxSpecSchema, sandbox.spec)
  return create(SandboxSchema, {
    metadata: {
      id: sandbox.id,
      name: sandbox.name,
      workspace: sandbox.workspace,
      createdAtMs: BigInt(sandbox.createdAtMs),
      labels: Object.fromEntries(sandbox.labels),
      annotations: Object.fromEntries(sandbox.annotations),
      resourceVersion: BigInt(sandbox.version),
    },
    spec: {
      ...spec,
      providers: [...sandbox.providers],
      ...(sandbox.policy === null ? {} : { policy: policyToWire(sandbox.policy) }),
    },
    status: {
      sandboxName: sandbox.name,
      phase: SandboxPhase.READY,
      currentPolicyVersion: sandbox.loadedPolicyVersion,
      mainProcessInstanceId: sandbox.mainProcessId,
      ...(sandbox.exitCode === null ? {} : { exitCode: sandbox.exitCode }),
    },
  })
}

/**
 * What of a spec is kept as it came: all but the providers and the policy. A field that this version
 * does not know is kept, too.
 *
 * @throws AppError `invalid_argument` for one that is too long or has unusable variables.
 */
export function specToBytes(spec: SandboxSpec): Uint8Array {
  const names = Object.keys(spec.environment)
  if (names.length > VARIABLES_MAX) {
    throw new AppError('invalid_argument', `An environment has at most ${VARIABLES_MAX} variables`)
  }
  const wrong = names.find(name => !/^[A-Za-z_][A-Za-z0-9_]{0,255}$/.test(name))
  if (wrong !== undefined) {
    throw new AppError('invalid_argument', `"${wrong.slice(0, 64)}" is no name of a variable`)
  }
  const { policy: _policy, ...rest } = spec
  const bytes = toBinary(SandboxSpecSchema, { ...rest, providers: [] })
  if (bytes.length <= SPEC_BYTES_MAX) return bytes
  throw new AppError('invalid_argument', `The spec is longer than ${SPEC_BYTES_MAX} bytes`)
}

/** A stored policy as the wire has it. */
export function policyToWire(policy: Policy): SandboxPolicy {
  return fromBinary(SandboxPolicySchema, policy.bytes)
}
