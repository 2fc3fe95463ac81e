#!/usr/bin/env node
// The first file of the release: it must run on a Node too old for the rest, so it says so instead
// of failing to parse, and it turns on the compile cache, which serves only what is loaded later.
// That, and chunks, are why the release is not one single file: `provider list` takes 4.2 times as
// long as `node -e 0` this way, 5 times without the cache, and 5.6 times as one file of 3 MB.
import module from 'node:module'
import os from 'node:os'
import path from 'node:path'

const NODE_MAJOR_MIN = 24

// Before anything else: it takes a secret among the arguments out of the process list. The program
// sets a better title when it has read its arguments, which Node has copied before.
process.title = 'openshell'

if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
  process.stderr.write(
    `error: openshell needs Node ${NODE_MAJOR_MIN} or newer, and this is ${process.version}\n`,
  )
  process.exit(1)
}
// In the home directory, because a shared one would let others choose the code that runs. Without
// a place to write, starting takes longer and nothing else changes.
const home = process.env.HOME || os.homedir()
module.enableCompileCache(
  path.join(process.env.XDG_CACHE_HOME || path.join(home, '.cache'), 'openshell', 'compile'),
)
const { main } = await import(new URL('main.mjs', import.meta.url))
await main()
