import { type Expression, type RawBuilder, type SqlBool, sql } from 'kysely'
import { parseMap } from './content.ts'

/** Labels as they are stored: JSON, in the order of their keys. */
export function labelsText(labels: ReadonlyMap<string, string>): string {
  const sorted = [...labels].sort(([one], [other]) => (one < other ? -1 : 1))
  return JSON.stringify(Object.fromEntries(sorted))
}

/**
 * Reads labels; `what` names the row for the message.
 *
 * @throws AppError `store_unavailable` when they are damaged.
 */
export function parseLabels(text: string, what: string): ReadonlyMap<string, string> {
  return parseMap(text, what)
}

/**
 * Whether a column has all these labels. Keys and values hold no quotes, so a pair as JSON writes it
 * stands in the text exactly when the label is set; both databases have `replace`, and it minds case.
 */
export function hasLabels(
  column: Expression<string>,
  labels: ReadonlyMap<string, string>,
): RawBuilder<SqlBool> {
  const pairs = [...labels].map(([key, value]) => JSON.stringify({ [key]: value }).slice(1, -1))
  const conditions = pairs.map(pair => sql<SqlBool>`replace(${column}, ${pair}, '') <> ${column}`)
  return conditions.length === 0
    ? sql<SqlBool>`1 = 1`
    : sql<SqlBool>`${sql.join(conditions, sql` and `)}`
}
