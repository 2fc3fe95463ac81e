// Goal: the house keeps its walls. Method: read every source file and hold it against the tables.
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

const root = path.dirname(import.meta.dirname)

/** Which folders each folder of `src` may import besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  system: ['core'],
  oauth: ['core', 'system'],
  store: ['core', 'system'],
  pki: ['core', 'system'],
  router: ['core', 'system'],
  wire: ['core'],
  providers: ['core', 'system', 'oauth'],
  refresh: ['core', 'system', 'oauth', 'providers', 'store'],
  gateway: ['core', 'system', 'refresh', 'providers', 'store', 'pki', 'wire'],
  sandbox: ['core', 'system', 'router', 'pki', 'wire'],
  lab: ['core', 'system', 'pki'],
  cli: ['core', 'system', 'pki', 'wire'],
}

/** Programs that the command line starts, through their `main.ts` alone. */
const PROGRAMS = ['gateway', 'sandbox', 'lab']

/** Expressions that stand only where the outside world is let in. */
const SEAMS: readonly { readonly pattern: RegExp; readonly only: RegExp }[] = [
  { pattern: /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(/, only: /(real|main)\.ts$/ },
  { pattern: /(?<![.\w])(setTimeout|setInterval|setImmediate)\(/, only: /(real|main)\.ts$/ },
  { pattern: /\bMath\.random\(|\brandomUUID\(|\brandomBytes\(/, only: /(real|main)\.ts$/ },
  { pattern: /(?<![.\w])fetch\(/, only: /(real|main)\.ts$/ },
  { pattern: /\bprocess\.(env|argv|exit)\b/, only: /main\.ts$/ },
  { pattern: /from '(\.\.?\/)+(system\/)?real\.ts'/, only: /main\.ts$/ },
  { pattern: /from '(node:sqlite|pg)'/, only: /(main|store\/(sqlite|postgres))\.ts$/ },
]

const LINES_MAX = 400
const BANNED_NAMES = ['manager', 'helper', 'util', 'utils', 'common', 'data', 'info', 'handle']

interface Source {
  readonly file: string
  readonly text: string
  readonly isTest: boolean
}

const sources: readonly Source[] = globSync('src/**/*.ts', { cwd: root })
  .filter(file => !file.startsWith(path.join('src', 'wire', 'gen')))
  .map(file => ({
    file: file.split(path.sep).join('/'),
    text: readFileSync(path.join(root, file), 'utf8'),
    isTest: file.endsWith('.test.ts'),
  }))

const program = sources.filter(source => !source.isTest)

function room(file: string): string {
  return file.split('/')[1] ?? ''
}

/** The files that a source imports: relative ones resolved, packages as they are. */
function importsOf(source: Source): readonly string[] {
  const found = source.text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s'([^']+)'|import\('([^']+)'\)/g,
  )
  return [...found].map(match => {
    const target = match[1] ?? match[2] ?? ''
    return target.startsWith('.')
      ? path.posix.join(path.posix.dirname(source.file), target)
      : target
  })
}

test('there is something to hold against the tables', () => {
  assert.ok(program.length > 20, `only ${program.length} sources found`)
  for (const folder of Object.keys(MAY_IMPORT))
    assert.ok(existsSync(path.join(root, 'src', folder)))
})

test('imports follow the table', () => {
  const wrong: string[] = []
  for (const source of program) {
    const from = room(source.file)
    for (const target of importsOf(source)) {
      if (!target.startsWith('src/')) continue
      const to = room(target)
      const startsProgram = from === 'cli' && PROGRAMS.includes(to) && target.endsWith('/main.ts')
      const isFree = to === from || (MAY_IMPORT[from] ?? []).includes(to)
      if (!isFree && !startsProgram) wrong.push(`${source.file} → ${target}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('core imports nothing from outside', () => {
  const wrong = program
    .filter(source => room(source.file) === 'core')
    .flatMap(source => importsOf(source).filter(target => !target.startsWith('src/core/')))
  assert.deepEqual(wrong, [])
})

test('no import cycle', () => {
  const edges = new Map(program.map(source => [source.file, importsOf(source)]))
  const finished = new Set<string>()
  const visit = (file: string, trail: readonly string[]): void => {
    assert.ok(!trail.includes(file), `cycle: ${[...trail, file].join(' → ')}`)
    if (finished.has(file)) return
    for (const target of edges.get(file) ?? [])
      if (edges.has(target)) visit(target, [...trail, file])
    finished.add(file)
  }
  for (const file of edges.keys()) visit(file, [])
})

test('the outside world is let in at the seams alone', () => {
  const wrong: string[] = []
  for (const source of program) {
    for (const { pattern, only } of SEAMS) {
      const lines = source.text.split('\n').filter(line => !/^\s*(\/\/|\*|\/\*)/.test(line))
      const line = lines.find(text => pattern.test(text))
      if (line !== undefined && !only.test(source.file))
        wrong.push(`${source.file}: ${line.trim()}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('no type assertion outside parse.ts, besides `as const`', () => {
  const wrong: string[] = []
  for (const source of program.filter(one => !one.file.endsWith('parse.ts'))) {
    for (const line of source.text.split('\n')) {
      if (/^\s*(\/\/|\*|\/\*|import|export \{|type )/.test(line)) continue
      if (/[\w)\]}] as (?!const\b)[A-Za-z{[(]/.test(line.replace(/'[^']*'|`[^`]*`/g, ''))) {
        wrong.push(`${source.file}: ${line.trim()}`)
      }
    }
  }
  assert.deepEqual(wrong, [])
})

test('files are short and named after their subject', () => {
  for (const source of sources) {
    const lines = source.text.split('\n').length
    assert.ok(lines <= LINES_MAX, `${source.file} has ${lines} lines`)
    const name = path.posix.basename(source.file).replace(/(\.test|\.types\.test)?\.ts$/, '')
    assert.match(name, /^[a-z0-9]+(-[a-z0-9]+)*$/, source.file)
    assert.ok(!BANNED_NAMES.includes(name), `${source.file} says nothing by its name`)
  }
})

test('no FIXME lands, and every TODO names an issue', () => {
  for (const source of sources) {
    assert.ok(!source.text.includes('FIX' + 'ME'), source.file)
    assert.ok(!/TO{1}DO(?!\(#\d+\))/.test(source.text), source.file)
  }
})

test('every exported thing of the house has a docstring', () => {
  const wrong: string[] = []
  for (const source of program) {
    const lines = source.text.split('\n')
    lines.forEach((line, index) => {
      if (!/^export (async )?(function|class|interface|type|const) /.test(line)) return
      if (!lines[index - 1]?.trimEnd().endsWith('*/')) wrong.push(`${source.file}: ${line}`)
    })
  }
  assert.deepEqual(wrong, [])
})
