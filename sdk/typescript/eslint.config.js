import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["build", "dist", "src/gen", "eslint.config.js"] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // Classes that only name an error add no members.
      "@typescript-eslint/no-extraneous-class": "off",
      // Calls picks methods of stubs and calls them on the stub.
      "@typescript-eslint/unbound-method": "off",
      // Numbers of enums that are not known here come from newer peers.
      "@typescript-eslint/no-unnecessary-condition": "off",
      "@typescript-eslint/no-unsafe-enum-comparison": "off",
      // User code throws what it likes.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/require-await": "off",
    },
  },
  {
    files: ["tests/**"],
    // node:test's functions return promises that it awaits itself.
    rules: {
      "@typescript-eslint/no-floating-promises": "off",
      "@typescript-eslint/no-confusing-void-expression": "off",
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      "@typescript-eslint/no-unused-expressions": "off",
    },
  },
);
