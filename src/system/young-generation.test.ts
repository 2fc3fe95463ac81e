// Goal: the flag does what V8's documentation does not promise. Method: a program that fills its heap.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

const FILL = `
import v8 from 'node:v8'
import { stopYoungGeneration } from ${JSON.stringify(new URL('young-generation.ts', import.meta.url))}
const size = () => v8.getHeapSpaceStatistics().find(one => one.space_name === 'new_space').space_size
if (process.argv[1] === 'stopped') stopYoungGeneration()
const before = size()
const live = []
for (let at = 0; at < 2e6; at += 1) live[at % 100_000] = { at, list: [at] }
process.stdout.write(String(size() / before))`

function growth(mode: string): number {
  const args = ['--input-type=module', '--eval', FILL, mode]
  return Number(spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout)
}

test('the young generation grows with what lives, and no more once it is stopped', () => {
  const [free, stopped] = [growth('free'), growth('stopped')]
  // The second half of the space is there from the first collection on.
  assert.ok(stopped <= 2, `${stopped}`)
  assert.ok(free >= 4 * stopped, `${free}`)
})
