// Svelte's compiler and svelte-check read this; TypeScript needs no preprocessor.
export default { compilerOptions: { runes: true } };
