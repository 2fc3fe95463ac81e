// Goal: every provider type keeps the rules that the rest of the house relies on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aProvider } from '../../test/store/records.ts'
import { rulesOf } from '../../test/support/outside.ts'
import { keyFile } from '../../test/support/service-account.ts'
import { Secret } from '../core/secret.ts'
import type { Grant } from '../oauth/token-request.ts'
import { findProviderType, providerTypes } from './registry.ts'

const HOST = 'api.example'
const rules = rulesOf([HOST])

/** A provider as its type's own example makes it, with placeholders for what a person fills in. */
function complete(type: (typeof providerTypes)[number]) {
  const words = type.example.split(' ')
  const after = (flag: RegExp) =>
    words.flatMap((word, at) => (flag.test(word) ? [words[at + 1] ?? ''] : []))
  const keys = after(/^--credential/).map(word => word.split('=')[0] ?? '')
  const config = after(/^--config$/).map(word => {
    const at = word.indexOf('=')
    const value = word
      .slice(at + 1)
      .replace('PROJECT', 'my-project')
      .replace('//HOST', `//${HOST}`)
    return [word.slice(0, at), value] as const
  })
  const secret = (key: string) => new Secret(key.endsWith('_JSON') ? keyFile() : 'a-secret')
  const material = new Map(keys.map(key => [key, secret(key)]))
  return aProvider({ type: type.type, material, config: new Map(config) })
}

test('a type is found by its name and its aliases, in any case', () => {
  for (const type of providerTypes) {
    for (const name of [type.type, ...type.aliases, type.type.toUpperCase(), ` ${type.type} `]) {
      assert.equal(findProviderType(name), type)
    }
  }
  for (const alias of ['vertex', 'vertex-ai', 'google-vertex', 'gcp-vertex']) {
    assert.equal(findProviderType(alias).type, 'google-vertex-ai')
  }
})

test('an unknown type is refused, and the known ones are named', () => {
  for (const name of ['', 'vertexx', '__proto__', 'toString']) {
    assert.throws(
      () => findProviderType(name),
      (error: unknown) =>
        error instanceof Error &&
        'code' in error &&
        error.code === 'unknown_provider_type' &&
        'hint' in error &&
        providerTypes.every(type => String(error.hint).includes(type.type)),
    )
  }
})

test('names and aliases are unique, of types and of their keys', () => {
  const names = providerTypes.flatMap(type => [type.type, ...type.aliases])
  assert.equal(new Set(names).size, names.length)
  for (const name of names) assert.match(name, /^[a-z0-9]+(-[a-z0-9]+)*$/)
  for (const type of providerTypes) {
    const credentials = type.credentialKeys.flatMap(key => [key.name, ...key.aliases])
    const keys = [...credentials, ...type.configKeys.map(key => key.name)]
    assert.equal(new Set(keys).size, keys.length, type.type)
    assert.ok(credentials.length > 0, type.type)
    assert.ok(!keys.includes(type.tokenKey), 'a token is never mistaken for material')
    for (const key of keys) assert.match(key, /^[A-Z][A-Z0-9_]*$/)
  }
})

test('every type tells what it is and shows a command that names it', () => {
  for (const type of providerTypes) {
    assert.ok(type.displayName !== '' && type.description !== '', type.type)
    const words = type.example.split(' ')
    assert.equal(words.slice(0, 3).join(' '), 'openshell provider add')
    assert.equal(findProviderType(words[words.indexOf('--type') + 1] ?? ''), type)
    const first = type.credentialKeys[0]
    assert.ok(first !== undefined && type.example.includes(first.name), type.type)
    for (const key of [...type.credentialKeys, ...type.configKeys])
      assert.ok(key.description !== '')
  }
})

test('raw material can never be the bearer of a type that mints', () => {
  for (const type of providerTypes) {
    const provider = complete(type)
    const { credential } = type.route(provider, 'model', rules)
    const request = type.grant(provider, 0, rules)
    assert.ok(type.tokenKey !== '' || request === null, type.type)
    assert.equal(type.tokenKey === '', type.strategy === '', type.type)
    assert.equal(credential.kind, request === null ? 'material' : 'token', type.type)
    for (const value of request === null ? [] : valuesOf(request)) {
      assert.ok(!(value instanceof Secret && value.reveal() === keyFile()))
    }
  }
})

/** Everything that a grant sends, as far as it is known before it is sent. */
function valuesOf(grant: Grant): readonly unknown[] {
  if (grant.kind === 'local') return []
  const { body } = grant
  const sent = body.kind === 'form' ? body.fields : body.kind === 'json' ? body.members : new Map()
  return [...grant.headers.values(), ...sent.values()]
}
