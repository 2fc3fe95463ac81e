// Goal: no provider type that mints goes without the suite. Method: hold the registry against the
// fixtures, each of which runs in a process of its own and is therefore read as text.
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { providerTypes } from '../../src/providers/registry.ts'

const fixtures = globSync('fixtures/*.test.ts', { cwd: import.meta.dirname }).map(file =>
  readFileSync(path.join(import.meta.dirname, file), 'utf8'),
)

/** Whether a fixture imports the type of this name and describes it. */
function isDescribed(type: string): boolean {
  const name = type.replace(/-(\w)/g, (_whole, letter: string) => letter.toUpperCase())
  const imported = `import { ${name} } from '../../../src/providers/${type}.ts'`
  return fixtures.some(text => text.includes(imported) && text.includes(`type: ${name},`))
}

test('every provider type has a fixture, or no token to mint', () => {
  const missing = providerTypes.filter(
    ({ tokenKey, type }) => tokenKey !== '' && !isDescribed(type),
  )
  assert.deepEqual(
    missing.map(({ type }) => type),
    [],
    'Add a fixture in test/conformance/fixtures',
  )
})

test('a type that nobody describes is found', () => {
  assert.ok(fixtures.length > 0)
  assert.equal(isDescribed('no-such-type'), false)
})
