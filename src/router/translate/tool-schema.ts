import { isObject, type JsonObject } from './json.ts'

/** Keywords of JSON Schema whose value is a map of schemas: their keys are names, not keywords. */
const SCHEMA_MAPS = ['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas']

/** Keywords whose value is data, in which nothing is a keyword. */
const DATA = ['const', 'default', 'enum', 'examples', 'required']

/**
 * A tool's schema without `additionalProperties`, which watsonx refuses at every depth. A property of
 * that name stays.
 */
export function withoutStrictness(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutStrictness)
  if (!isObject(schema)) return schema
  return mapMembers(schema, (name, value) => {
    if (name === 'additionalProperties') return undefined
    if (DATA.includes(name)) return value
    if (!SCHEMA_MAPS.includes(name) || !isObject(value)) return withoutStrictness(value)
    return mapMembers(value, (_, inner) => withoutStrictness(inner))
  })
}

function mapMembers(
  object: JsonObject,
  map: (name: string, value: unknown) => unknown,
): JsonObject {
  const members = Object.entries(object).map(([name, value]) => [name, map(name, value)] as const)
  return Object.fromEntries(members.filter(([, value]) => value !== undefined))
}
