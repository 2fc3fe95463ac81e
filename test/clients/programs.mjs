// What an agent's own program is asked to do, from its command line.

const CONTEXT = `${'All work and no play makes the context long. '.repeat(46_000)}The end.`
/** Longer than two lives of a token. */
const LONG_EVENTS = 200

/**
 * The runs of a program for `acceptance`: one answer, a tool call, a context of 2 MB (or what the program
 * takes) on standard input, an answer that outlives two tokens, and one that is interrupted. `ask` makes
 * a command of a prompt, `read` one that takes the prompt from standard input.
 */
export function programRuns({ ask, read, context = CONTEXT }) {
  const last = `${LONG_EVENTS - 1} `.padEnd(8, '.')
  return [
    { command: ask('Say hello'), expect: /You said/ },
    { command: ask('lab:tool'), expect: /You said/ },
    { command: read, input: context, expect: /You said/ },
    {
      command: ask(`lab:events=${LONG_EVENTS},interval=100ms,size=8`),
      expect: new RegExp(last.replaceAll('.', '\\.')),
    },
    { command: ask('lab:events=1000,interval=50ms'), isInterrupted: true, expect: /./ },
  ]
}
