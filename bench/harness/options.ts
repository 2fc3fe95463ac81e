// The command line of a bench.
import { parseArgs } from 'node:util'
import { isSubjectName, type SubjectName } from './subjects.ts'

/** How long and against whom a bench measures. */
export interface BenchOptions {
  /** A first impression: short windows, fewer subjects. Its figures do not count. */
  readonly isQuick: boolean
  readonly rounds: number
  readonly subjects: readonly SubjectName[]
  /** The folder with the release to be measured; undefined is `dist/`. */
  readonly release: string | undefined
}

/** Reads `--quick`, `--rounds N`, `--subjects A,B` and `--release DIR`. */
export function readOptions(given: {
  readonly all: readonly SubjectName[]
  readonly quick: readonly SubjectName[]
}): BenchOptions {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      subjects: { type: 'string', default: '' },
      release: { type: 'string' },
    },
  })
  const named = values.subjects.split(',').filter(Boolean)
  const unknown = named.find(name => !isSubjectName(name))
  if (unknown !== undefined) throw new Error(`"${unknown}" is none of ${given.all.join(', ')}`)
  const usual = values.quick ? given.quick : given.all
  return {
    isQuick: values.quick,
    rounds: Math.max(1, Number.parseInt(values.rounds, 10)),
    subjects: named.length > 0 ? named.filter(isSubjectName) : usual,
    release: values.release,
  }
}
