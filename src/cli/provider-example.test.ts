// Goal: the example of every provider type can be pasted as it stands.
// Method: the real command line reads it, with the files and variables that it names in place.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { shellWords } from '../../test/support/shell-words.ts'
import { findProviderType, providerTypes } from '../providers/registry.ts'

const standing = process.cwd()
const folder = mkdtempSync(path.join(tmpdir(), 'openshell-example-'))
process.chdir(folder)
after(() => {
  process.chdir(standing)
  rmSync(folder, { recursive: true })
})

test('the example of every provider type is a command line that is understood', async () => {
  await using gateway = await startScriptedGateway({ createProvider: () => ({}) })
  for (const { type, example } of providerTypes) {
    const [program, ...argv] = shellWords(example)
    assert.equal(program, 'openshell', type)
    const env: Record<string, string> = { OPENSHELL_GATEWAY_ENDPOINT: gateway.origin }
    for (const [at, word] of argv.entries()) {
      const [key = '', value] = (argv[at + 1] ?? '').split('=')
      if (word === '--credential' && value === undefined) env[key] = 'a-value'
      if (word === '--credential-file') writeFileSync(value ?? '', 'a-value')
    }
    const { code, err } = await runOpenShell(argv, { env })
    assert.deepEqual([code, err], [0, ''], `${type}: ${example}`)
    const sent = JSON.stringify(gateway.calls.at(-1)?.request)
    const named = /"type":"([^"]+)"/.exec(sent)?.[1] ?? ''
    assert.equal(findProviderType(named).type, type)
  }
})
