// npm run schema: writes the JSON Schema of configuration files, which is made from the checks themselves.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ensureBuilt, ensureInstalled, requireNode, root, run } from './setup.mjs'

requireNode()
ensureInstalled()
ensureBuilt()

const { gatewayJsonSchema } = await import(join(root, 'packages/gateway-ref/dist/config/json-schema.js'))
const file = join(root, 'packages/gateway-ref/schema/gateway.schema.json')
mkdirSync(dirname(file), { recursive: true })
writeFileSync(file, `${JSON.stringify(gatewayJsonSchema(), null, 2)}\n`)
run(process.execPath, [join(root, 'node_modules/@biomejs/biome/bin/biome'), 'format', '--write', file])
