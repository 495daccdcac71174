# For tools that look for a binding.gyp. The sources are listed in CMakeLists.txt only; this runs the same CMake build
# and never downloads: libtorch must be there (npx node-diffusers setup fetches it).
{
  "targets": [
    {
      "target_name": "node_diffusers",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/node_diffusers.node"],
          "action": ["node", "scripts/build/setup.mjs", "--no-fetch"],
          "message": "Building the addon with CMake"
        }
      ]
    }
  ]
}
