import { fromJson, fromJsonString, type JsonValue, toJson, toJsonString } from '@bufbuild/protobuf'
import { AppError } from '../core/errors.ts'
import { type ProviderProfile, ProviderProfileSchema } from './gen/openshell/v1/profile_pb.ts'

const CATEGORY = 'PROVIDER_PROFILE_CATEGORY_'
const STRATEGY = 'PROVIDER_CREDENTIAL_REFRESH_STRATEGY_'

/** Whole numbers of 64 bits, which JSON has as text and people write as numbers. */
const NUMBERS = [
  'resource_version',
  'refresh_before_seconds',
  'max_lifetime_seconds',
  'cache_ttl_seconds',
]

/**
 * Reads a profile as people write it in YAML or JSON. Categories and strategies are taken in any case,
 * with dashes or underscores; a program may be a bare path.
 *
 * @throws AppError `invalid_argument`, naming a key that no profile has or a value of another kind.
 */
export function profileFromDocument(document: unknown): ProviderProfile {
  try {
    return fromJson(ProviderProfileSchema, toWireForm(document))
  } catch (error) {
    // The message of protobuf's reader names the field, and quotes no more than its value.
    const reason = error instanceof Error ? error.message : 'it cannot be read'
    throw new AppError('invalid_argument', `This is not a provider profile: ${reason}`)
  }
}

/** A profile as people write it. */
export function profileToDocument(profile: ProviderProfile): Readonly<Record<string, unknown>> {
  const { category, credentials, binaries, ...rest } = recordOf(
    toPeopleForm(toJson(ProviderProfileSchema, profile, { useProtoFieldName: true })),
  )
  return {
    ...rest,
    ...(category === undefined ? {} : { category: wordOf(category, CATEGORY) }),
    ...(credentials === undefined ? {} : { credentials: listOf(credentials).map(toCredential) }),
    ...(binaries === undefined ? {} : { binaries: listOf(binaries).map(toBinary) }),
  }
}

/** A profile as it is stored. */
export function profileToText(profile: ProviderProfile): string {
  return toJsonString(ProviderProfileSchema, profile)
}

/**
 * Reads a stored profile. What a newer version of this program wrote into it is left out.
 *
 * @throws AppError `store_unavailable` when it is damaged.
 */
export function profileFromText(text: string, id: string): ProviderProfile {
  try {
    return fromJsonString(ProviderProfileSchema, text, { ignoreUnknownFields: true })
  } catch (cause) {
    throw new AppError('store_unavailable', `The provider profile "${id}" is damaged`, { cause })
  }
}

function toWireForm(document: unknown): JsonValue {
  const { category, credentials, binaries, ...rest } = recordOf(jsonOf(document))
  return {
    ...rest,
    ...(category === undefined ? {} : { category: enumOf(category, CATEGORY) }),
    ...(credentials === undefined ? {} : { credentials: listOf(credentials).map(fromCredential) }),
    ...(binaries === undefined ? {} : { binaries: listOf(binaries).map(fromBinary) }),
  }
}

function fromCredential(value: JsonValue): JsonValue {
  const { refresh, ...credential } = recordOf(value)
  if (refresh === undefined) return credential
  const { strategy, ...rest } = recordOf(refresh)
  const named = strategy === undefined ? {} : { strategy: enumOf(strategy, STRATEGY) }
  return { ...credential, refresh: { ...rest, ...named } }
}

function toCredential(value: JsonValue): JsonValue {
  const { refresh, ...credential } = recordOf(value)
  if (refresh === undefined) return credential
  const { strategy = '', ...rest } = recordOf(refresh)
  return { ...credential, refresh: { strategy: wordOf(strategy, STRATEGY), ...rest } }
}

function fromBinary(value: JsonValue): JsonValue {
  return typeof value === 'string' ? { path: value } : value
}

function toBinary(value: JsonValue): JsonValue {
  const { path = '', ...rest } = recordOf(value)
  return Object.keys(rest).length === 0 ? path : value
}

/** `client-credentials` and `CLIENT_CREDENTIALS` are the same word. */
function enumOf(value: JsonValue, prefix: string): JsonValue {
  if (typeof value !== 'string') return value
  const name = value.trim().toUpperCase().replaceAll('-', '_')
  return name.startsWith(prefix) ? name : `${prefix}${name}`
}

function wordOf(value: JsonValue, prefix: string): JsonValue {
  return typeof value === 'string' ? value.replace(prefix, '').toLowerCase() : value
}

/** Numbers as numbers, at any depth. */
function toPeopleForm(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(toPeopleForm)
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).map(([name, one]) => {
    const isNumber = NUMBERS.includes(name) && typeof one === 'string'
    return [name, isNumber ? Number(one) : toPeopleForm(one)] as const
  })
  return Object.fromEntries(members)
}

/** What JSON can say, or an error: YAML has dates and more. */
function jsonOf(value: unknown): JsonValue {
  return JSON.parse(JSON.stringify(value ?? null))
}

function recordOf(value: JsonValue): Record<string, JsonValue> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new TypeError('expected keys and values')
}

function listOf(value: JsonValue): readonly JsonValue[] {
  if (Array.isArray(value)) return value
  throw new TypeError('expected a list')
}
