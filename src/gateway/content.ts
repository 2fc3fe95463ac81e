import type { ProviderContent, ProviderRecord } from '../core/provider.ts'

/** Whether two contents hold the same material and configuration. */
export function isSameContent(one: ProviderContent, other: ProviderContent): boolean {
  const isSameMaterial = isSameMap(one.material, other.material, (a, b) => a.equals(b))
  return isSameMaterial && isSameMap(one.config, other.config, (a, b) => a === b)
}

/** Whether the same is noted on two states of a provider. */
export function isSameNotes(one: Noted, other: Noted): boolean {
  const isSame = (a: unknown, b: unknown): boolean => a === b
  return (
    isSameMap(one.labels, other.labels, isSame) &&
    isSameMap(one.annotations, other.annotations, isSame) &&
    isSameMap<number>(one.expiries, other.expiries, isSame)
  )
}

type Noted = Pick<ProviderRecord, 'labels' | 'annotations' | 'expiries'>

function isSameMap<V>(
  one: ReadonlyMap<string, V>,
  other: ReadonlyMap<string, V>,
  equals: (a: V, b: V) => boolean,
): boolean {
  if (one.size !== other.size) return false
  return [...one].every(([key, value]) => {
    const twin = other.get(key)
    return twin !== undefined && equals(value, twin)
  })
}
