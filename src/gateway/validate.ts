import { AppError } from '../core/errors.ts'
import type { RouteName } from '../core/provider.ts'
import { Secret } from '../core/secret.ts'
import { DEFAULT_WORKSPACE } from '../core/workspace.ts'
import type { ProviderType } from '../providers/provider-type.ts'

const NAME_CHARS_MAX = 253
const CREDENTIALS_MAX = 32
const CONFIG_ENTRIES_MAX = 64
const KEY_CHARS_MAX = 256
const VALUE_BYTES_MAX = 8_192
const NOTES_MAX = 64
const LIST_DEFAULT = 100
const LIST_MAX = 1_000

/** Checks a name that a person gave: it stands in URLs, metrics and tables. */
export function checkName(name: string, label: string): string {
  if (isName(name)) return name
  throw new AppError('invalid_argument', `"${name.slice(0, 64)}" is not a ${label} name`, {
    hint: `Names have letters, digits, dots, dashes and underscores, at most ${NAME_CHARS_MAX}`,
  })
}

/** Whether something may be the name of anything. */
export function isName(name: string): boolean {
  return name.length <= NAME_CHARS_MAX && /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/i.test(name)
}

/** The workspace of a request; '' means the default one. */
export function checkWorkspace(workspace: string): string {
  return workspace === '' ? DEFAULT_WORKSPACE : checkName(workspace, 'workspace')
}

/** The route of a request; '' means the agents' one. */
export function checkRouteName(name: string): RouteName {
  if (name === '' || name === 'inference.local') return 'inference.local'
  if (name === 'sandbox-system') return name
  throw new AppError('invalid_argument', `Unknown inference route "${name}"`, {
    hint: 'Routes are "inference.local" and "sandbox-system"',
  })
}

/** Limit and offset of a list: 0 means 100, and 1000 is the most. */
export function checkPage(request: { readonly limit: number; readonly offset: number }): {
  readonly limit: number
  readonly offset: number
} {
  const limit = request.limit === 0 ? LIST_DEFAULT : Math.min(request.limit, LIST_MAX)
  return { limit, offset: request.offset }
}

/**
 * Merges given credentials into what is stored. Names are brought to the type's own, an empty value
 * takes a key away.
 */
export function mergeMaterial(
  type: ProviderType,
  stored: ReadonlyMap<string, Secret>,
  given: Readonly<Record<string, string>>,
): ReadonlyMap<string, Secret> {
  const merged = new Map(stored)
  for (const [name, value] of Object.entries(given)) {
    checkKey(name, 'Credential')
    const key = type.credentialKeys.find(one => one.aliases.includes(name))?.name ?? name
    if (value === '') merged.delete(key)
    else merged.set(key, new Secret(checkValue(name, value)))
  }
  if (merged.size > CREDENTIALS_MAX) {
    throw new AppError('invalid_argument', `A provider has at most ${CREDENTIALS_MAX} credentials`)
  }
  return merged
}

/** Merges given configuration into what is stored; an empty value takes a key away. */
export function mergeConfig(
  stored: ReadonlyMap<string, string>,
  given: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> {
  const merged = new Map(stored)
  for (const [name, value] of Object.entries(given)) {
    checkKey(name, 'Configuration')
    if (value === '') merged.delete(name)
    else merged.set(name, checkValue(name, value))
  }
  if (merged.size > CONFIG_ENTRIES_MAX) {
    throw new AppError(
      'invalid_argument',
      `A provider has at most ${CONFIG_ENTRIES_MAX} configuration keys`,
    )
  }
  return merged
}

/**
 * Checks the material of a configured refresh, which has names of its own.
 *
 * @throws AppError `invalid_argument`.
 */
export function checkMaterial(
  given: Readonly<Record<string, string>>,
): ReadonlyMap<string, Secret> {
  const entries = Object.entries(given)
  if (entries.length > CONFIG_ENTRIES_MAX) {
    throw new AppError('invalid_argument', `A refresh has at most ${CONFIG_ENTRIES_MAX} materials`)
  }
  return new Map(
    entries.map(([name, value]) => {
      checkKey(name, 'Material')
      if (value === '') throw new AppError('invalid_argument', `The material ${name} is empty`)
      return [name, new Secret(checkValue(name, value))] as const
    }),
  )
}

/** Merges given labels or annotations into what is stored; an empty value takes a key away. */
export function mergeNotes(
  stored: ReadonlyMap<string, string>,
  given: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> {
  const merged = new Map(stored)
  for (const [name, value] of Object.entries(given)) {
    if (name === '' || name.length > KEY_CHARS_MAX) {
      throw new AppError('invalid_argument', 'The key of a label or annotation is not a valid name')
    }
    if (value === '') merged.delete(name)
    else merged.set(name, checkValue(name, value))
  }
  if (merged.size <= NOTES_MAX) return merged
  throw new AppError('invalid_argument', `There are at most ${NOTES_MAX} labels or annotations`)
}

/**
 * Merges instants at which credentials end into what is stored; 0 takes one away, and what became of a
 * key that is not `known` is forgotten.
 */
export function mergeExpiries(
  stored: ReadonlyMap<string, number>,
  given: Readonly<Record<string, number>>,
  known: ReadonlySet<string>,
): ReadonlyMap<string, number> {
  const merged = new Map(stored)
  for (const [name, atMs] of Object.entries(given)) {
    if (!known.has(name)) {
      throw new AppError(
        'invalid_argument',
        `There is no credential "${name.slice(0, 64)}" that could expire`,
      )
    }
    if (!Number.isSafeInteger(atMs) || atMs < 0) {
      throw new AppError('invalid_argument', `The expiry of ${name} is not an instant`)
    }
    if (atMs === 0) merged.delete(name)
    else merged.set(name, atMs)
  }
  return new Map([...merged].filter(([name]) => known.has(name)))
}

/** Keys that the type does not know: most likely a typing error, worth a word. */
export function unknownKeys(
  type: ProviderType,
  keys: { readonly material: Iterable<string>; readonly config: Iterable<string> },
): readonly string[] {
  const known = new Set([...type.credentialKeys, ...type.configKeys].map(key => key.name))
  return [...keys.material, ...keys.config].filter(name => !known.has(name))
}

function checkKey(name: string, label: string): void {
  if (name.length <= KEY_CHARS_MAX && /^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name)) return
  throw new AppError('invalid_argument', `${label} key "${name.slice(0, 64)}" is not a valid name`)
}

function checkValue(name: string, value: string): string {
  if (Buffer.byteLength(value) <= VALUE_BYTES_MAX) return value
  throw new AppError(
    'invalid_argument',
    `The value of ${name} is longer than ${VALUE_BYTES_MAX} bytes`,
  )
}
