import { createHash } from 'node:crypto'
import { toBinary } from '@bufbuild/protobuf'
import { AppError } from '../core/errors.ts'
import type { Policy } from '../core/sandbox.ts'
import {
  type SandboxPolicy,
  SandboxPolicySchema,
} from '../wire/gen/openshell/sandbox/v1/sandbox_pb.ts'

const POLICY_BYTES_MAX = 524_288

/**
 * The policy that takes the place of another: the same one when nothing in it has changed, else one
 * version on. This gateway keeps and hands on policies; what they mean is the supervisor's business.
 *
 * @throws AppError `invalid_argument` for one that is too long.
 */
export function nextPolicy(standing: Policy | null, wanted: SandboxPolicy): Policy {
  const bytes = toBinary(SandboxPolicySchema, {
    ...wanted,
    // The order of a map's entries on the wire means nothing, and would change the hash.
    networkPolicies: sorted(wanted.networkPolicies),
    networkMiddlewares: sorted(wanted.networkMiddlewares),
  })
  if (bytes.length > POLICY_BYTES_MAX) {
    throw new AppError('invalid_argument', `The policy is longer than ${POLICY_BYTES_MAX} bytes`)
  }
  const hash = createHash('sha256').update(bytes).digest('hex')
  if (standing?.hash === hash) return standing
  return { bytes, version: (standing?.version ?? 0) + 1, hash }
}

function sorted<V>(map: Readonly<Record<string, V>>): Record<string, V> {
  const entries = Object.entries(map).sort(([one], [other]) => (one < other ? -1 : 1))
  return Object.fromEntries(entries)
}
