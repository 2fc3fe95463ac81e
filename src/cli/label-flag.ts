import { repeatedFlag } from './command.ts'
import type { UsageCheck } from './usage.ts'

/** `--label KEY=VALUE`, as often as wished. */
export function labelFlag() {
  return repeatedFlag('--label <key=value>', 'a label to find it by')
}

/** The labels that were given; what is wrong is noted in `check`. */
export function readLabels(
  texts: readonly string[] | undefined,
  check: UsageCheck,
): Record<string, string> {
  const pairs = (texts ?? []).map(text => {
    const [key = '', value, ...more] = text.split('=')
    if (key === '' || value === undefined || more.length > 0) check.add('--label takes KEY=VALUE')
    return [key, value ?? ''] as const
  })
  return Object.fromEntries(pairs)
}
