import type { ProviderContent } from '../core/provider.ts'
import { Secret } from '../core/secret.ts'
import { parseJsonObject, stringMap } from './json.ts'
import type { Sealer } from './seal.ts'

/** A configuration, labels, annotations or instants as they are stored. */
export function mapText(map: ReadonlyMap<string, string | number>): string {
  return JSON.stringify(Object.fromEntries(map))
}

/**
 * Reads a configuration, labels or annotations; `what` names the row for the message.
 *
 * @throws AppError `store_unavailable` when it is damaged.
 */
export function parseMap(text: string, what: string): ReadonlyMap<string, string> {
  return stringMap(parseJsonObject(text, what), what)
}

/** Reads instants by key, as {@link parseMap} does. */
export function parseInstants(text: string, what: string): ReadonlyMap<string, number> {
  return new Map(Object.entries(parseJsonObject(text, what)).map(([key, at]) => [key, Number(at)]))
}

/** A provider's candidate as it is stored: sealed as one, because it holds material. */
export function sealCandidate(
  providerId: string,
  content: ProviderContent,
  sealer: Sealer,
): string {
  const material = [...content.material].map(([key, secret]) => [key, secret.reveal()] as const)
  const text = JSON.stringify({
    material: Object.fromEntries(material),
    config: Object.fromEntries(content.config),
  })
  return sealer.seal(new Secret(text), candidateContext(providerId))
}

/**
 * Reads a candidate; null when there is none.
 *
 * @throws AppError `store_unavailable` or `wrong_master_key` when it cannot be read.
 */
export function readCandidate(
  providerId: string,
  envelope: string | null,
  sealer: Sealer,
): ProviderContent | null {
  if (envelope === null) return null
  const what = `the candidate of provider ${providerId}`
  const text = sealer.unseal(envelope, candidateContext(providerId)).reveal()
  const { material, config } = parseJsonObject(text, what)
  const secrets = [...stringMap(material, what)].map(
    ([key, value]) => [key, new Secret(value)] as const,
  )
  return { material: new Map(secrets), config: stringMap(config, what) }
}

/** Where a candidate belongs; its envelope opens nowhere else. */
export function candidateContext(providerId: string): string {
  return `candidate/${providerId}`
}
