import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { RouteShape } from '../core/route.ts'
import type { Secret } from '../core/secret.ts'
import { probeRoute } from '../providers/probe.ts'
import type { ProbeRule } from '../providers/provider-type.ts'
import type { Clock } from '../system/clock.ts'
import type { Fetch } from '../system/fetch.ts'

/** OpenShell gives a validation as long. */
const PROBE_MS = 30_000

/** A route that a person wants to set, and what it would be asked with. */
export interface WantedRoute {
  readonly provider: ProviderRecord
  readonly shape: RouteShape
  readonly credential: Secret
  readonly rules: readonly ProbeRule[]
}

/**
 * Asks the vendor the smallest question about the model; answers whether there was one to ask. A list of
 * models is not asked for: many vendors show it to everybody.
 *
 * @throws AppError `failed_precondition` when the vendor refuses it, or does not answer.
 */
export async function validateRoute(
  deps: { readonly fetch: Fetch; readonly clock: Clock },
  { provider, shape, credential, rules }: WantedRoute,
): Promise<boolean> {
  const late = new AbortController()
  const answered = new AbortController()
  void deps.clock.sleep(PROBE_MS, answered.signal).then(() => late.abort())
  const secrets = [...provider.material.values()]
  try {
    const operations = shape.operations.filter(one => one.protocol !== 'model_discovery')
    const asked = { ...shape, operations }
    const target = { shape: asked, hasModel: true, credential, secrets, rules }
    const { outcome, message, advice } = await probeRoute(deps, target, late.signal)
    if (outcome !== 'failed') return outcome !== 'skipped'
    throw new AppError('failed_precondition', `The route would not serve: ${message}`, {
      hint: `${advice}; --no-verify sets the route all the same`,
    })
  } finally {
    answered.abort()
  }
}
