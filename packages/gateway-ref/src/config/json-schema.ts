import { z } from 'zod'
import { requiredSections, sectionSchemas } from './schema.ts'

/** The parts of JSON Schema (2020-12) that ours has. */
export interface JsonSchema {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly items?: JsonSchema
  readonly [keyword: string]: unknown
}

let made: JsonSchema | undefined

/** The JSON Schema of a configuration file, made from the same source as the checks. */
export function gatewayJsonSchema(): JsonSchema {
  made ??= makeSchema()
  return made
}

function makeSchema(): JsonSchema {
  const properties = Object.fromEntries(
    Object.entries(sectionSchemas).map(([name, schema]) => {
      const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' })
      return [name, rest as JsonSchema]
    }),
  )
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Twinbore gateway configuration',
    description: 'What `twinbore gateway --config FILE` reads. Paths are relative to the file.',
    type: 'object',
    properties,
    required: [...requiredSections],
    additionalProperties: false,
  }
}

/** One setting that holds a value (not a section). */
export interface SettingLocation {
  readonly path: readonly string[]
  readonly schema: JsonSchema
}

/** Every setting that holds a value, in the order of the schema. */
export function settingLocations(
  schema: JsonSchema = gatewayJsonSchema(),
  path: readonly string[] = [],
): SettingLocation[] {
  if (!schema.properties) return [{ path, schema }]
  return Object.entries(schema.properties).flatMap(([name, inner]) => settingLocations(inner, [...path, name]))
}

/** The names that may stand in the section at `path`; empty when there is no such section. */
export function namesInSection(path: readonly (string | number)[]): string[] {
  const schema = path.reduce<JsonSchema | undefined>((at, step) => at?.properties?.[step], gatewayJsonSchema())
  return Object.keys(schema?.properties ?? {})
}
