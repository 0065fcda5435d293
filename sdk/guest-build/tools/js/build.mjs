// Makes a component of a policy's module: `node build.mjs FOLDER ENTRY SDK WIT OUT`. Prints the hooks it exports.
//
// FOLDER/ENTRY is the author's module, SDK the SDK's `component.js`, WIT a folder with the contract.
// An error of the author's is one short text on stderr and exit code 1.

import { appendFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';

import { componentize } from '@bytecodealliance/componentize-js';
import { build } from 'esbuild';

import { linesOf } from './lines.mjs';

const [folder, entry, sdk, wit, out] = process.argv.slice(2);

/** The contract's world for each hook. */
const WORLDS = {
  configure: 'configured',
  admit: 'admitting',
  place: 'placing',
  observe: 'observing',
  snapshot: 'restorable',
};

/** What would come from outside. The policy imports nothing but the contract. */
const FEATURES = ['random', 'stdio', 'clocks', 'http', 'fetch-event'];

// Short and without spaces: the engine takes its paths as words of one line.
const room = await mkdtemp(join(tmpdir(), 'headworks-policy-'));
try {
  const hooks = await hooksOf();
  await make(hooks);
  process.stdout.write(`${hooks.join(' ')}\n`);
} catch (error) {
  process.stderr.write(`${textOf(error)}\n`);
  process.exitCode = 1;
} finally {
  await rm(room, { recursive: true, force: true });
}

/** Runs the module as a test would, to learn which hooks it has and whether the SDK takes it. */
async function hooksOf() {
  const outfile = join(room, 'described.mjs');
  const module = JSON.stringify(join(folder, entry));
  // Not `export { default }`: the bundler has a sentence of its own for a module without one.
  await bundle(`import * as module from ${module};\nexport default module.default;`, outfile, 'node', []);
  const { default: policy } = await import(pathToFileURL(outfile));
  if (!Array.isArray(policy?.hooks)) {
    throw new Error(`${entry} must \`export default definePolicy({ … })\``);
  }
  return policy.hooks;
}

async function make(hooks) {
  const exported = ['describe', ...hooks];
  // The SDK first: it replaces what the author's module may use of the language's own.
  const glue = [
    `import { interfacesOf } from ${JSON.stringify(sdk)};`,
    `import policy from ${JSON.stringify(join(folder, entry))};`,
    'const interfaces = interfacesOf(policy);',
    ...exported.map((hook) => `export const ${hook} = interfaces.${hook};`),
  ];
  const outfile = join(room, 'component.js');
  await bundle(glue.join('\n'), outfile, 'neutral', ['headworks-component']);
  // An exception then names the author's own line. The engine knows lines of the bundle only.
  const lines = linesOf(await readFile(`${outfile}.map`, 'utf8'), authors);
  await appendFile(outfile, `\nglobalThis.headworksLines = ${JSON.stringify(lines)};\n`);
  await world(hooks);
  process.chdir(room);
  const { component } = await componentize({
    sourcePath: 'component.js',
    witPath: 'wit',
    worldName: 'policy',
    disableFeatures: FEATURES,
  });
  await writeFile(out, component);
}

/** A source of the bundle as its author names it; nothing for those of the SDK and for the glue. */
function authors(source) {
  const path = resolve(room, source);
  const isBelow = (place) => path.startsWith(place + sep);
  return isBelow(folder) && !isBelow(dirname(sdk)) && path !== join(folder, 'component.js') ? relative(folder, path) : undefined;
}

async function bundle(contents, outfile, platform, conditions) {
  await build({
    stdin: { contents, resolveDir: folder, sourcefile: 'component.js' },
    outfile,
    platform,
    conditions,
    alias: { '@headworks/policy': join(dirname(sdk), 'index.js') },
    bundle: true,
    format: 'esm',
    target: 'es2022',
    sourcemap: 'external',
    external: ['headworks:*'],
    absWorkingDir: folder,
    logLevel: 'silent',
  });
}

/** A world of its own for the policy: everything it may import, and the hooks it has. */
async function world(hooks) {
  await mkdir(join(room, 'wit/deps'), { recursive: true });
  await cp(wit, join(room, 'wit/deps/policy'), { recursive: true });
  const worlds = ['senses', 'described', ...hooks.map((hook) => WORLDS[hook])];
  const includes = worlds.map((name) => `  include headworks:policy/${name}@0.1.0;\n`).join('');
  await writeFile(join(room, 'wit/policy.wit'), `package local:policy;\n\nworld policy {\n${includes}}\n`);
}

/** The bundler's errors with their places, or the exception's message. */
function textOf(error) {
  if (Array.isArray(error?.errors) && error.errors.length > 0) {
    const line = ({ text, location }) =>
      location ? `${location.file}:${location.line}:${location.column + 1}: ${text}` : text;
    return error.errors.map(line).join('\n');
  }
  return String(error?.message ?? error);
}
