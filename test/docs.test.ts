// Goal: what the pages say is what the program does: every code is explained, every command parses.
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { CommanderError } from 'commander'
import { shellWords } from './support/shell-words.ts'
import { understand } from './support/understand.ts'

const root = path.dirname(import.meta.dirname)
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')

/** The first cells of a section's table. */
function codesIn(page: string, section: string): readonly string[] {
  const text = page.split(/^## /m).find(part => part.startsWith(`${section}\n`)) ?? ''
  return [...text.matchAll(/^\| `([a-z_]+)` \|/gm)].map(match => match[1] ?? '')
}

function matches(text: string, pattern: RegExp): readonly string[] {
  return [...text.matchAll(pattern)].map(match => match[1] ?? '')
}

test('every error code stands in docs/errors.md, and no other', () => {
  const page = read('docs/errors.md')
  const errors = read('src/core/errors.ts').split('export type ErrorCode =')[1]?.split('\n\n')[0]
  const kinds = read('src/router/errors.ts').split('const ERROR_KINDS = {')[1]?.split('\n} ')[0]
  const doctor = ['src/gateway/doctor.ts', 'src/gateway/doctor-mint.ts', 'src/providers/probe.ts']
  const rows: readonly (readonly [section: string, codes: readonly string[]])[] = [
    ['Gateway and command line', matches(errors ?? '', /'([a-z_]+)'/g)],
    ['Router', matches(kinds ?? '', /^ {2}([a-z_]+): \{/gm)],
    [
      'Routes that cannot serve',
      matches(
        read('src/gateway/bundle-builder.ts'),
        /'((?:provider|credential)_[a-z]+(?:_[a-z]+)*)'/g,
      ),
    ],
    ['Doctor', doctor.flatMap(file => matches(read(file), /\bcode: '([a-z_]+)'/g))],
  ]
  for (const [section, codes] of rows) {
    assert.ok(codes.length > 5, section)
    const explained = codesIn(page, section)
    assert.equal(new Set(explained).size, explained.length, `${section}: a code stands twice`)
    assert.deepEqual([...explained].sort(), [...new Set(codes)].sort(), section)
  }
})

test('every command in the pages is one that the program understands', async () => {
  const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: root })]
  let count = 0
  for (const page of pages) {
    for (const words of commandsIn(read(page))) {
      await assert.doesNotReject(understand(words), `${page}: openshell ${words.join(' ')}`)
      count += 1
    }
  }
  assert.ok(count > 5, `only ${count} commands found`)
})

test('a command that the program does not understand would be found', async () => {
  for (const line of [
    'provider ad',
    'provider list --colour',
    'provider doctor',
    'inference set x',
  ])
    await assert.rejects(understand(line.split(' ')), CommanderError, line)
})

/** The commands of a page's code blocks, indented or fenced, without the program's name. */
function commandsIn(page: string): readonly (readonly string[])[] {
  const lines = page.replace(/\\\n/g, ' ').split('\n')
  let isFenced = false
  return lines.flatMap(line => {
    if (line.trimStart().startsWith('```')) isFenced = !isFenced
    const isCode = isFenced || line.startsWith('    ')
    const command = /^\s*(?:\$ )?(?:npx )?openshell (.*)$/.exec(line)?.[1]
    if (!isCode || command === undefined) return []
    return [shellWords(command.replace(/\s(?:&|\||>|<).*$/, ''))]
  })
}
